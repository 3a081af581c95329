"""One loaded model: which inputs it takes, which way it predicts, and requests predicted together."""
