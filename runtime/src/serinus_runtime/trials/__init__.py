"""Confined processes that examine a model or a package once and end with an answer."""
