"""A loaded model: its inputs, the way in which it predicts, and batches of requests."""
