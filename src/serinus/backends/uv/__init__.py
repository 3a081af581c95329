"""Environments built by uv: locked, content-addressed, each with its own Python version."""

from serinus.backends.uv.environments import UvEnvironments
from serinus.backends.uv.packages import UvPackages

__all__ = ["UvEnvironments", "UvPackages"]
