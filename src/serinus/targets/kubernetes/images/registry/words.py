"""What a registry's refusal means, in words, with the next step. Another try may help with all of them: whoever runs
the registry mends what is wrong there, and nothing of the model is at fault."""

from __future__ import annotations

import re
from typing import Any

import httpx

from serinus.core.errors import Unavailable

_LONG = 60.0
"""Seconds until another try, where a person has to do something first."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of which the same request may get another one soon."""
_FULL = re.compile(r'no space left|insufficient|quota|"Err":\s*(28|122)\b', re.IGNORECASE)
"""In what a registry says; 28 and 122 are ENOSPC and EDQUOT, as the `distribution` registry passes them on."""


class NotThere(Unavailable):
    """The registry has no such repository, manifest or blob."""


class Away(Unavailable):
    """The registry did not answer, or was not able to for the moment: the same request may succeed soon."""


def refused(registry: str, repository: str, answer: httpx.Response) -> Unavailable:
    """The error of an answer that is no success. Its body must have been read."""
    status, codes = answer.status_code, _codes(answer)
    where = f"{registry}/{repository}" if repository else registry
    if is_full(answer):
        return Unavailable(
            f"The registry {registry} is full or over its quota (HTTP {status}).",
            hint="Remove images that are not needed, run its garbage collection, or raise its quota.",
            delay=_LONG,
        )
    if status == 401 or "UNAUTHORIZED" in codes:
        return Unavailable(
            f"The registry {registry} does not accept the credentials for {where} (HTTP {status}).",
            hint=f"Run `docker login {registry}` as the user that runs Serinus, or check its Docker configuration.",
            delay=_LONG,
        )
    if status == 403 or "DENIED" in codes:
        return Unavailable(
            f"The registry {registry} denies access to {where} (HTTP {status}).",
            hint="Give the user in the Docker configuration the right to pull from this repository and push to it.",
            delay=_LONG,
        )
    if status == 404:
        return NotThere(
            f"The registry {registry} has no such repository or image: {where}.",
            hint="Check the reference. Some registries need each repository to be created before the first push.",
            delay=_LONG,
        )
    if status == 413:
        return Unavailable(
            f"The registry {registry}, or a proxy before it, refuses a layer as too large (HTTP 413).",
            hint="Raise the largest body that it takes.",
            delay=_LONG,
        )
    told = f", {', '.join(codes)}" if codes else ""
    return (Away if status in PASSING else Unavailable)(
        f"The registry {registry} answered a request for {where} with HTTP {status}{told}.",
        hint="Look into the log of the registry.",
    )


def away(registry: str, error: Exception) -> Away:
    return Away(
        f"The registry {registry} does not answer ({type(error).__name__}).",
        hint="Check that it runs, and that this machine reaches it.",
    )


def changed(registry: str, what: str) -> Unavailable:
    """What came is not what its digest says."""
    return Unavailable(
        f"{what} from the registry {registry} is not what its digest says.",
        hint="Check the registry and what is between; the content was damaged or replaced.",
        delay=_LONG,
    )


def is_full(answer: httpx.Response) -> bool:
    return answer.status_code == 507 or (answer.status_code >= 400 and bool(_FULL.search(answer.text)))


def _codes(answer: httpx.Response) -> list[str]:
    """The codes in the errors of the answer, such as DENIED, as the distribution specification has them."""
    try:
        errors: Any = answer.json()["errors"]
        found = [str(error["code"]) for error in errors]
    except (ValueError, KeyError, TypeError):
        return []
    return [code for code in found[:5] if re.fullmatch("[A-Z_]{1,40}", code)]
