"""The fleet repository: specs and what is live, with author and reason, as commits of a Git repository."""

from serinus.backends.git.fleet import Change, GitFleet

__all__ = ["Change", "GitFleet"]
