"""Reports on trained models: tables, curves, pictures and players, on held-out files."""
