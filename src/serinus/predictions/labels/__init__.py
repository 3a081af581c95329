"""Outcomes: storing them, importing them, and joining them with predictions."""
