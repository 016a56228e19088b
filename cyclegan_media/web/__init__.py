"""The web page: models for people who would rather drop a file than type a command."""
