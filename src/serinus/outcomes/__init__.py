"""Files of outcomes: CSV, Parquet or JSON lines. It only depends on `core`, so that the CLI can read them too."""

from serinus.outcomes.files import read_labels, read_parts

__all__ = ["read_labels", "read_parts"]
