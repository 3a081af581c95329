"""Helpers that are independent of Serinus."""
