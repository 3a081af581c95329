"""Prediction records: in batches, off the request path, until each is acknowledged."""
