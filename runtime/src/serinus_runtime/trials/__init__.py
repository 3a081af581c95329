"""Processes that look at a model or a package once, confined, and end with an answer."""
