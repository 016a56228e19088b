"""Video and audio domain transfer from unpaired examples."""
