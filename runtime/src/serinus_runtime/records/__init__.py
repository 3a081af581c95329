"""Prediction records: sent in batches, outside of requests, until each is acknowledged."""
