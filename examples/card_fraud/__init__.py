"""A data scientist's side of it: real card transactions, four models, ordinary MLflow code."""
