"""What the API server refuses, in words. All of it says which act on which object, and holds no token.

What somebody can set right while a rollout waits is temporary: an unknown token, a missing right, a quota, an admission
webhook. What would be refused again, however often it is tried, is permanent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import msgspec
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import Status
from msgspec.structs import replace

from serinus.core.errors import InvalidInput, NotFound, Refused, SerinusError, Unavailable
from serinus.core.text import one_line

_PATIENCE = 15.0
"""Seconds until the next try of what a person has to set right."""
_LONGEST = 400
"""Characters of the API server's own words."""


class Unauthorised(Unavailable):
    """The API server does not accept the credentials."""


class NotAllowed(Unavailable):
    """The API server accepts the credentials, which lack a permission."""


class QuotaExceeded(Unavailable):
    """The namespace has no more of something."""


class Denied(Unavailable):
    """An admission webhook or policy does not want the object."""


class Conflict(Refused):
    """Another version of the object is there than the one that was to be replaced, or somebody else owns a field."""

    def __init__(self, message: str, *, hint: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.fields = fields
        """Paths of the fields that somebody else owns; empty: it is about the version."""


class Expired(Unavailable):
    """The API server has no history from that version on: list anew."""


@dataclass(frozen=True, slots=True)
class Act:
    """What was tried: `verb` as rules of RBAC name it, `resource` likewise."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    server: str = ""

    def __str__(self) -> str:
        what = f"{self.resource} '{self.name}'" if self.name else self.resource
        return f"{self.verb} {what} in the namespace '{self.namespace}'" if self.namespace else f"{self.verb} {what}"


@contextmanager
def translated(act: Act) -> Iterator[None]:
    """Raises a SerinusError for what the client raises within."""
    try:
        yield
    except (httpx2.HTTPError, httpx2.StreamError, ConfigError, OSError) as error:
        raise in_words(error, act) from error
    except (KeyError, ValueError) as error:
        # lightkube reads a Content-Type and JSON of every error, which a proxy may answer without either.
        raise in_words(_refusal_behind(error) or error, act) from error


def _refusal_behind(error: BaseException) -> httpx2.HTTPStatusError | None:
    """What was being handled when this error was raised."""
    context = error.__context__
    return context if context is None or isinstance(context, httpx2.HTTPStatusError) else _refusal_behind(context)


def in_words(error: Exception, act: Act) -> SerinusError:
    """What the client has raised while it tried that act."""
    if isinstance(error, httpx2.HTTPStatusError):
        return _refused(_status(error), act)
    if isinstance(error, httpx2.TimeoutException):
        return _away(act, "it did not answer in time")
    if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
        return _away(act, one_line(str(error))[:_LONGEST] or type(error).__name__)
    if isinstance(error, msgspec.MsgspecError):
        return Unavailable(f"The API server did not answer with JSON when it was asked to {act}.", hint=_LOOK)
    return _credentials(error)


_LOOK = "Check that the address in the kubeconfig is that of the API server."


def _away(act: Act, why: str) -> SerinusError:
    server = f" at {act.server}" if act.server else ""
    return Unavailable(f"The API server of the cluster{server} does not answer: {why}.", hint=_LOOK, delay=2.0)


def _credentials(error: Exception) -> SerinusError:
    """Nothing else is read while a call is made. What a plugin writes is not quoted: it may hold a token."""
    text = str(error) if isinstance(error, ConfigError) else ""
    if text and not text.startswith("Exec "):
        return InvalidInput(f"The kubeconfig cannot be used: {one_line(text)}.")
    if isinstance(error, OSError):
        why = f": {error.strerror}: {error.filename}"
    else:
        command = text.removeprefix("Exec ").partition(" returned ")[0]
        why = f", the command '{command}'" if command else ": it answers with no token"
    return Unavailable(
        f"The credential plugin or the token file of the kubeconfig fails{one_line(why)}.",
        hint="Run the plugin by hand to see why.",
        delay=_PATIENCE,
    )


def _status(error: httpx2.HTTPStatusError) -> Status:
    """Of the answer, or of the event in a watch. Something between may have answered in its own way."""
    known = getattr(error, "status", None)
    if isinstance(known, Status):
        return known
    response = error.response
    try:
        body = json.loads(response.read())
        return replace(msgspec.convert(body, Status), code=response.status_code)
    except (httpx2.HTTPError, ValueError, msgspec.MsgspecError):
        return Status(code=response.status_code)
    finally:
        response.close()


_WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request')
_FAILING = re.compile(r'failed calling webhook "([^"]+)"')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")
_UNKNOWN_FIELD = "failed to create typed patch object"
"""Of a server-side apply, with the status 500: the object has a field that this API server does not know."""
_QUOTA = re.compile(r"exceeded quota: ([^,]+)")
_BY = re.compile(r'conflict with "([^"]+)"')


def _refused(status: Status, act: Act) -> SerinusError:
    said = one_line(status.message or "")
    words = f" ({said[:_LONGEST]})" if said else ""
    if found := _WEBHOOK.search(said) or _POLICY.search(said):
        return Denied(
            f"The admission check '{found[1]}' of the cluster does not allow to {act}{words}.",
            hint="Change the check or what it asks for; the next try follows by itself.",
            delay=_PATIENCE,
        )
    if found := _FAILING.search(said):
        return Denied(f"The admission webhook '{found[1]}' of the cluster does not answer{words}.", delay=_PATIENCE)
    match status.code:
        case 401:
            return Unauthorised(
                f"The API server does not accept these credentials when it is asked to {act}.",
                hint="Renew the token or the certificate of the kubeconfig.",
                delay=_PATIENCE,
            )
        case 403:
            return _forbidden(act, words)
        case 404:
            return _not_found(status, act, words)
        case 409:
            return _conflict(status, act, words)
        case 410:
            return Expired(f"The API server has no history from that version on of {act.resource}.", delay=0.0)
        case 429:
            seconds = status.details.retryAfterSeconds if status.details is not None else None
            return Unavailable(f"The API server is too busy to {act}.", delay=float(seconds or 2.0))
        case int(code) if 400 <= code < 500 or _UNKNOWN_FIELD in said:
            return Refused(f"The API server refuses to {act}{words}.")
        case code:
            return Unavailable(f"The API server failed when it was asked to {act}: status {code}{words}.")


def _forbidden(act: Act, words: str) -> SerinusError:
    if found := _QUOTA.search(words):
        return QuotaExceeded(
            f"The quota '{found[1]}' of the namespace '{act.namespace}' is used up{words}.",
            hint="Raise it, or retire a model; the next try follows by itself.",
            delay=_PATIENCE,
        )
    if "PodSecurity" in words or "LimitRange" in words or "per Container is" in words or "per Pod is" in words:
        return Denied(f"A policy of the namespace does not allow to {act}{words}.", delay=_PATIENCE)
    if "is being terminated" in words:
        return Unavailable(f"The namespace '{act.namespace}' is being deleted.", delay=_PATIENCE)
    return NotAllowed(
        f"The credentials of Serinus lack the right to {act}.",
        hint=f"Grant the verb '{act.verb}' on '{act.resource}' in a Role.",
        delay=_PATIENCE,
    )


def _not_found(status: Status, act: Act, words: str) -> SerinusError:
    missing = status.details.kind if status.details is not None else None
    if act.namespace and missing == "namespaces":
        return Unavailable(
            f"The cluster has no namespace '{act.namespace}'.",
            hint=f"Create it: kubectl create namespace {act.namespace}.",
            delay=_PATIENCE,
        )
    if act.name and missing is not None:
        return NotFound(f"The cluster has no {act.resource} '{act.name}' in the namespace '{act.namespace}'.")
    return NotFound(f"The API server knows no {act.resource}{words}.")


def _conflict(status: Status, act: Act, words: str) -> SerinusError:
    causes = (status.details.causes if status.details is not None else None) or []
    owned = [cause for cause in causes if cause.reason == "FieldManagerConflict"]
    if not owned:
        return Conflict(f"It has changed meanwhile, so that the API server refuses to {act}{words}.")
    by = sorted({found[1] for cause in owned if (found := _BY.search(cause.message or ""))})
    fields = tuple(sorted(cause.field for cause in owned if cause.field))
    return Conflict(
        f"Fields of {act.resource} '{act.name}' belong to {one_line(', '.join(by))}: {one_line(', '.join(fields))}.",
        hint="Let one of them write these fields.",
        fields=fields,
    )
