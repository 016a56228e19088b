"""Many files, in processes of their own: nothing is lost when one of them, or all, are killed.

The parent plans, keeps the work list (SQLite) and reports; it never opens a medium nor loads torch.
Workers translate whole files (:meth:`cyclegan_media.translate.Translator.translate_file`).
"""

from cyclegan_media.batch.run import run_batch
from cyclegan_media.batch.settings import BatchOptions, FileSettings

__all__ = ["BatchOptions", "FileSettings", "run_batch"]
