"""The Git server that has the fleet repository, and what it answers, in words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from serinus.backends.git.command import GitFailed
from serinus.core.errors import InvalidInput, Unavailable
from serinus.core.text import one_line

TRACKED = "refs/remotes/origin/main"
"""What the branch of the server was when it was last read."""
SECONDS = 20.0
"""The longest time that the server may take for one fetch or push."""
_PATIENCE = 15.0
"""The time until the next attempt, in seconds, where a person has to set something right."""
_LONGEST = 400
"""The largest number of characters of the server's own words that are shown."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A branch of a repository on a Git server. Others push to it as well.

    Raises InvalidInput for an address that has a password in it: it would be in process lists and errors.
    """

    url: str
    branch: str = "main"
    credentials: Path | None = None
    """A file in the format of git-credential-store, for addresses that begin with `https`. It is read for each call.
    None: the address needs no credentials, or SSH has them."""
    reviewed: bool = False
    """The server lets nobody push to the branch whom somebody else has not reviewed. Who merges a change of another
    person then has approved it."""

    def __post_init__(self) -> None:
        if "://" in self.url and urlsplit(self.url).password is not None:
            raise InvalidInput(
                "The address of the fleet repository has a password in it.",
                hint="Write the whole address into a file that only Serinus can read, and name it as the credentials.",
            )
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", self.branch) or ".." in self.branch:
            raise InvalidInput(f"'{one_line(self.branch)}' is not a name of a branch.")

    @property
    def settings(self) -> tuple[str, ...]:
        """Returns the options of git for a call to the server."""
        if self.credentials is None:
            return ()
        helper = f"credential.helper=store --file={shlex.quote(str(self.credentials))}"
        return "-c", "credential.helper=", "-c", helper

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


class Away(Unavailable):
    """The server does not answer."""


class Overtaken(Unavailable):
    """Somebody else has changed the same file meanwhile. Their change is known now, and another attempt replaces it."""


_NO_BRANCH = "couldn't find remote ref"
_BEHIND = re.compile(r"\[rejected\]|cannot lock ref|failed to update ref|incorrect old value|stale info")
_REFUSED = re.compile(r"\[remote rejected\][^(]*\((?P<why>[^)]*)\)")
_UNKNOWN = re.compile(
    r"authentication failed|could not read (username|password)|permission denied|access denied|\b40[13]\b"
    r"|host key verification failed",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository .*not found|does not appear to be a git repository|not exported|\b404\b", re.IGNORECASE
)


def has_no_branch(failure: GitFailed) -> bool:
    """Whether a fetch has failed because the branch does not exist yet."""
    return _NO_BRANCH in failure.words


def is_behind(failure: GitFailed) -> bool:
    """Whether a push has failed because somebody else has pushed meanwhile."""
    return _BEHIND.search(failure.output) is not None and "hook declined" not in failure.output


def in_words(failure: GitFailed, remote: Remote) -> Unavailable:
    """Returns the error for people."""
    where = f"'{remote.branch}' of {one_line(remote.url)}"
    if found := _REFUSED.search(failure.output):
        said = _said(failure) or one_line(found["why"])
        return Unavailable(
            f"The Git server refuses commits of Serinus to {where} ({one_line(found['why'])}): {said}.",
            hint="Allow Serinus to push to that branch; the next attempt follows by itself.",
            delay=_PATIENCE,
        )
    if _UNKNOWN.search(failure.words):
        return Unavailable(
            f"The Git server does not accept the credentials of Serinus for {where}: {_last(failure)}.",
            hint="Renew them, and grant the right to read and to write.",
            delay=_PATIENCE,
        )
    if _MISSING.search(failure.words):
        return Unavailable(
            f"The Git server has no repository for {where}: {_last(failure)}.",
            hint="Create it, or correct its address.",
            delay=_PATIENCE,
        )
    return Away(
        f"The Git server does not answer for {where}: {_last(failure)}.",
        hint="Serving goes on meanwhile; the next attempt follows by itself.",
    )


def _said(failure: GitFailed) -> str:
    """Returns what the server itself has written: what a hook prints, for example."""
    lines = [line.removeprefix("remote:").strip() for line in failure.words.splitlines() if line.startswith("remote:")]
    return one_line(" ".join(lines))[:_LONGEST].rstrip(". ")


def _last(failure: GitFailed) -> str:
    lines = [line for line in failure.words.splitlines() if line.startswith(("fatal:", "error:", "remote:", "ssh:"))]
    words = lines or failure.words.splitlines() or ["no reason given"]
    return one_line(" ".join(words[:2]))[:_LONGEST].rstrip(". ")
