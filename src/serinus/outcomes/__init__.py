"""Files of outcomes: CSV, Parquet or JSON lines. Knows nothing but `core`, so that the CLI may read them, too."""

from serinus.outcomes.files import read_labels, read_parts

__all__ = ["read_labels", "read_parts"]
