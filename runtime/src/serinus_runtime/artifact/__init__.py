"""The files of a model: its signature, and the model itself, loaded with its own libraries."""
