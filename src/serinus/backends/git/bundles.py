"""A repository as one file, at one moment."""

from __future__ import annotations

from pathlib import Path

from serinus.backends.git.command import Git, GitFailed, explain


def bundle(repository: Path, file: Path) -> bool:
    """Writes the repository to `file`. Returns False where it has no commits yet. Raises Unavailable."""
    git = Git(repository)
    try:
        if not (repository / "HEAD").is_file() or not git.run("for-each-ref", "--count=1").strip():
            return False
        git.run("bundle", "create", "--quiet", str(file), "--all")
    except GitFailed as failure:
        raise explain(failure, repository) from failure
    return True


def unbundle(file: Path, repository: Path) -> None:
    """Creates the bare repository from a file that `bundle` has written. Raises Unavailable."""
    try:
        Git.create(repository)
        Git(repository).run("-c", "transfer.fsckObjects=true", "fetch", "--quiet", str(file), "+refs/*:refs/*")
    except GitFailed as failure:
        raise explain(failure, repository) from failure
