"""Queries of the log: the table, and the segments that are not in it yet."""
