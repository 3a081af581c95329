"""Routes for events, the audit record and logs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool

from serinus.api.auth import Deployer, Viewer, whoever
from serinus.api.failures import NOT_FOUND
from serinus.api.services import Given, Services
from serinus.core.errors import InvalidInput, NotFound, SerinusError
from serinus.core.events import AuditEntry, Event
from serinus.core.home import Home
from serinus.core.redaction import without_credentials
from serinus.resources import AuditChain, LogLines

router = APIRouter(tags=["happenings"])

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 10.0
MOST_LOG_BYTES = 1_000_000

_event = TypeAdapter(Event)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,255}")

Number = Annotated[int, Query(ge=0)]


@router.get("/events")
def events(
    services: Given,
    _actor: Viewer,
    after: Number = 0,
    model: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Sequence[Event]:
    """Returns the events with a number above `after`, oldest first. Without `after`, it returns the last `limit`
    events."""
    return services.world.store.events(after, model, limit)


@router.get("/events/stream", response_model=None)
async def event_stream(
    request: Request, services: Given, _actor: Viewer, after: Number | None = None
) -> StreamingResponse:
    """Sends events as they happen (server-sent events), from now on, or after the number `after` or the header
    `Last-Event-ID`. The `data` of each is an event as in `GET /v1/events`, and its `id` is the event's number. The
    stream ends when the token is revoked."""
    seen = request.headers.get("last-event-id", "")
    start = int(seen) if seen.isascii() and seen.isdigit() else after
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(request, services, start), media_type="text/event-stream", headers=headers)


async def _stream(request: Request, services: Services, start: int | None) -> AsyncIterator[str]:
    """Ends when the token is revoked or the store does not answer. Clients reconnect by themselves."""
    store = services.world.store
    yield "retry: 1000\n\n"
    try:
        last = start if start is not None else _newest(await run_in_threadpool(store.events, limit=1))
        quiet = 0.0
        while True:
            # It is checked each time, because the token may have been revoked.
            await run_in_threadpool(whoever, request)
            found = await run_in_threadpool(store.events, last)
            for event in found:
                last = event.number
                text = json.dumps(_event.dump_python(event, mode="json"))
                yield f"id: {event.number}\ndata: {text}\n\n"
            quiet = 0.0 if found else quiet + POLL_SECONDS
            if quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(POLL_SECONDS)
    except SerinusError:
        return


def _newest(found: Sequence[Event]) -> int:
    return found[-1].number if found else 0


@router.get("/audit")
def audit(
    services: Given,
    _actor: Viewer,
    after: Number = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    model: str | None = None,
    newest: bool = False,
) -> Sequence[AuditEntry]:
    """Returns entries of the audit record, oldest first: the first `limit` after `after`, or with `newest` the last
    ones. With `model`, only acts on the model, its versions and its rollouts."""
    return services.world.store.audit_trail(after, limit, model=model, newest=newest)


@router.get("/audit/verify")
def verify_audit(services: Given, _actor: Viewer) -> AuditChain:
    """Checks the chain of the audit record, in which each entry has the digest of the one before it."""
    broken = services.world.store.audit_broken_at()
    return AuditChain(holds=broken is None, broken_at=broken)


@router.get("/logs", responses=NOT_FOUND)
def logs(
    services: Given,
    _actor: Deployer,
    release: str | None = None,
    process: str | None = None,
    lines: Annotated[int, Query(ge=1, le=10_000)] = 200,
    after: Number | None = None,
) -> LogLines:
    """Returns the end of the log of a release or a process. With `after` (the `offset` of an earlier answer), it
    returns what was written since."""
    path = _log_path(services.home, release, process)
    try:
        text, offset = _read_end(path, after)
    except FileNotFoundError:
        raise NotFound(f"there is no log of {release or process}", hint=_there_are(services.home)) from None
    found = without_credentials(text).splitlines()
    return LogLines(lines=found if after is not None else found[-lines:], offset=offset)


def _log_path(home: Home, release: str | None, process: str | None) -> Path:
    name = release or process
    if name is None or (release and process):
        raise InvalidInput("name a release or a process", hint="`?release=ID` or `?process=NAME`.")
    if release is None and not _NAME.fullmatch(name):
        raise InvalidInput(
            "no process has that name", hint="The processes are control, host, collector, envoy and mlflow."
        )
    # The name is quoted as in the host, because a release's name may hold characters that a file name may not.
    return home.logs / (f"release-{quote(release, safe='')}.log" if release else f"{name}.log")


def _read_end(path: Path, after: int | None) -> tuple[str, int]:
    """Returns whole lines and the offset after them. A file that is shorter than `after` was rotated, and is read from
    its beginning."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = 0 if after is None or after > size else after
        file.seek(max(start, size - MOST_LOG_BYTES))
        content = file.read()
        end = file.tell()
    if after is None:
        return content.decode(errors="replace"), end
    whole = content[: content.rfind(b"\n") + 1]
    return whole.decode(errors="replace"), end - len(content) + len(whole)


def _there_are(home: Home) -> str:
    stems = sorted(path.stem for path in home.logs.glob("*.log"))
    releases = [stem.removeprefix("release-") for stem in stems if stem.startswith("release-")]
    processes = [stem for stem in stems if not stem.startswith("release-")]
    return (
        f"There are logs of releases: {', '.join(releases[:20]) or 'none yet'}; "
        f"and with `--process` those of {', '.join(processes[:20]) or 'none yet'}."
    )
