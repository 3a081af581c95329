"""Stands in for the runtime where a test is about the host alone."""
