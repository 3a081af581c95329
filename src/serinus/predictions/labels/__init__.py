"""Outcomes: kept, imported, and joined with the predictions that they are of."""
