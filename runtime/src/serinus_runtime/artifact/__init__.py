"""What a model's files say and bring: its signature, and the model itself, loaded with its own libraries."""
