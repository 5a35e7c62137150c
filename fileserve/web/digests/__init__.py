"""Digests of files: computed while one watches, proved by fields, listed for ``sha256sum -c``."""
