"""Reports on trained models: tables, curves, pictures and players, on held-out files.

:func:`cyclegan_media.evaluation.run.evaluate` makes a report; see docs/evaluation.md.
"""
