"""Raw videos, pictures and recordings → data sets that train, and what is wrong with a data set."""
