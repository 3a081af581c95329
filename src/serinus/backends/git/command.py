"""The git command line, independent of the configuration of the user, the system and surrounding repositories."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from serinus.core.errors import SerinusError, Unavailable
from serinus.lib import tied

TIMEOUT_SECONDS = 60

_SETTINGS = (
    "core.fsync=committed,reference",  # A commit that was reported survives a power failure.
    "core.hooksPath=/dev/null",
    "commit.gpgSign=false",
    # Git holds the lock of a ref for milliseconds. A push may hold it longer.
    "core.filesRefLockTimeout=2000",
    "gc.autoDetach=false",
)


class GitFailed(Exception):
    """git has failed. `words` is its message, and `output` what it had printed before."""

    def __init__(self, words: str, output: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.output = output


class Git:
    """Runs git on the bare repository at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, *arguments: str, given: bytes = b"", timeout: float = TIMEOUT_SECONDS) -> bytes:
        """Runs git and returns its output. Raises GitFailed, or Unavailable where git is missing or takes more than
        `timeout` seconds."""
        # --git-dir is given, so that a repository in a parent directory is never used instead.
        return self._run(f"--git-dir={self._path}", *arguments, given=given, timeout=timeout)

    @classmethod
    def create(cls, path: Path) -> None:
        """Creates an empty bare repository at `path`, which must not exist or be an empty directory."""
        cls._run("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path))

    @classmethod
    def in_checkout(cls, directory: Path, *arguments: str) -> bytes:
        """Runs git in a directory of a person's checkout, by their configuration, and returns its output.

        Their configuration says which directories of other users are trusted. Raises GitFailed and Unavailable, as
        `run` does.
        """
        return cls._run("-C", str(directory), *arguments, env=_environment_of_a_person())

    @staticmethod
    def _run(
        *arguments: str, given: bytes = b"", timeout: float = TIMEOUT_SECONDS, env: Mapping[str, str] | None = None
    ) -> bytes:
        options = [part for setting in _SETTINGS for part in ("-c", setting)]
        try:
            done = tied.run(
                ["git", *options, *arguments],
                given=given,
                env=_environment() if env is None else env,
                timeout=timeout,
                first=signal.SIGTERM,  # by which it removes the locks that it holds
            )
        except FileNotFoundError as error:
            raise Unavailable("The git command is not on the PATH.", hint="Install git.", delay=60) from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"git {_verb(arguments)} took more than {timeout:.0f} s.") from error
        if done.returncode != 0:
            raise GitFailed(done.stderr.decode(errors="replace").strip(), done.stdout.decode(errors="replace"))
        return done.stdout


def _environment() -> dict[str, str]:

    # GIT_DIR and similar variables are set where Serinus is started from a hook, and would point elsewhere. Git must
    # not get credentials of the registry either.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MLFLOW_"))}
    return inherited | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=10",  # It never asks, as nobody would answer.
        "LC_ALL": "C",
    }


def _environment_of_a_person() -> dict[str, str]:
    own = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
    return {
        **{name: value for name, value in _environment().items() if name not in own},
        **{name: os.environ[name] for name in own if name in os.environ},
        "GIT_OPTIONAL_LOCKS": "0",  # It only reads.
    }


def _verb(arguments: Sequence[str]) -> str:
    words = iter(arguments)
    for word in words:
        if word in ("-c", "-C"):
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""


def explain(failure: GitFailed, path: Path) -> SerinusError:
    """Returns the error for people."""
    last = failure.words.splitlines()[-1] if failure.words else "no reason given"
    if "No space left on device" in failure.words:
        return Unavailable(
            f"The disk that holds the fleet repository {path} is full: nothing was committed.",
            hint="Free some space; serving goes on meanwhile.",
            delay=30,
        )
    return Unavailable(
        f"git cannot use the fleet repository {path}: {last}",
        hint=f"`git -C {path} fsck` reports what is wrong with it.",
    )
