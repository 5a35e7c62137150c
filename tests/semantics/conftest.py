"""Hypothesis for pure functions: no deadline, for no test asserts a time; no database, for a run leaves no files."""

from hypothesis import settings

settings.register_profile("fileserve", deadline=None, database=None)
settings.load_profile("fileserve")
