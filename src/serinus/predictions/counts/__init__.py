"""The counts that the judge reads, by split and release, in `counts.db`."""
