"""The Delta table of predictions, and the roll-up of segments into it."""
