"""Environments built by uv: locked, content-addressed, each with its own Python."""

from serinus.backends.uv.environments import UvEnvironments

__all__ = ["UvEnvironments"]
