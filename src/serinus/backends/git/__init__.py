"""The fleet repository: what should run, who wanted it and why, as commits of a Git repository."""

from serinus.backends.git.fleet import Change, GitFleet

__all__ = ["Change", "GitFleet"]
