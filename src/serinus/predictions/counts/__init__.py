"""What the judge reads: counts by split and release, kept in `counts.db`."""
