"""Backups: a folder of them, how one is written, read and checked. Knows rows and bytes, not what they mean; `ops/restoring.py` puts one back."""

PART, READY = "restore.part", "restore.ready"
"""Folders in the data folder: see `placing`."""
REINDEX = "reindex.json"
"""In the data folder: indexes that hold what was before a restore. Whoever finds it builds them anew and removes it (`ops/restoring.py`)."""
