"""The host's view of one release: its status, the events that change it, and the actions that follow.

`release_transitions` has the table, and `release_controller` performs the actions. Workers are named by their process
ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from serinus.core.disturbance import Cause
from serinus.core.placement import PlacementState


class State(StrEnum):
    """The state of a release."""

    STARTING = "starting"
    """A worker waits for its turn to start, or is loading the model."""
    ACTIVATING = "activating"
    """The same, after the release was scaled to zero."""
    RETRYING = "retrying"
    """The same, after a worker that did not become ready."""
    READY = "ready"
    SCALED_TO_ZERO = "scaled-to-zero"
    """There is no worker. The next caller activates it."""
    RESTARTING = "restarting"
    """Its worker ended while it served. Callers wait for the next one, which is started after a delay."""
    FAILED = "failed"
    """Its worker did not become ready. Callers are refused until the next one is started, after a delay."""
    DRAINING = "draining"
    """It was removed, or the host stops. No worker is started any more."""


LOADING = frozenset({State.STARTING, State.ACTIVATING, State.RETRYING})
DELAYED = frozenset({State.RESTARTING, State.FAILED})
PLACED = frozenset(State) - {State.DRAINING}


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a release. Each worker that this host knows has one part in it. A worker that was told to stop has
    none."""

    state: State
    since: float
    """The time at which it became ready, in seconds of a monotonic clock."""
    reason: str = ""
    """Notes about a release that is ready. Otherwise why its last worker ended. May be empty."""
    main: int | None = None
    """The worker that loads or serves."""
    helpers: tuple[int, ...] = ()
    """Workers beside it, according to the load, including those that are still loading."""
    helpers_asked: int = 0
    """The number of helpers that are being started."""
    previous: int | None = None
    """The worker of an earlier host, which answers until `main` is ready."""
    shorter: tuple[int, ...] = ()
    """Workers that use a faster way than they should. They answer until `main`, which does not, is ready."""
    renewing: int | None = None
    """The one of `main` and `helpers` that is being replaced. It answers until the other one is ready."""
    renewal: int | None = None
    """Its replacement, among `helpers`. None: it has no process yet."""
    draining: frozenset[int] = frozenset()
    """Workers that end when nobody is connected to them any more."""
    ready: frozenset[int] = frozenset()
    """The workers that answer, without the draining ones."""
    long: bool = False
    """The release is served by the model's own `predict`."""
    main_long: bool = False
    """`main` uses the model's own `predict`."""
    inherited: bool = False
    """`previous` listens on the same socket as this host."""
    cause: Cause | None = None
    """Why the next worker is started, where the platform is the cause."""
    failures: int = 0
    """The number of workers in a row that ended soon after they were ready, or before."""
    retry_at: float = 0.0
    """When the delay of RESTARTING and FAILED ends."""
    restarts: int = 0

    @property
    def answering(self) -> Sequence[int]:
        """The main worker and the helpers that answer, the main one first."""
        return [one for one in (self.main, *self.helpers) if one is not None and one in self.ready]

    @property
    def standing_in(self) -> int | None:
        """A worker that answers until another one replaces it. None: there is none."""
        return next((one for one in (self.previous, *self.shorter) if one is not None and one in self.ready), None)


_SHOWN = {
    State.STARTING: PlacementState.STARTING,
    State.ACTIVATING: PlacementState.SCALED_TO_ZERO,
    State.RETRYING: PlacementState.FAILED,
    State.READY: PlacementState.READY,
    State.SCALED_TO_ZERO: PlacementState.SCALED_TO_ZERO,
    State.RESTARTING: PlacementState.FAILED,
    State.FAILED: PlacementState.FAILED,
    State.DRAINING: PlacementState.STARTING,
}


class Shown(NamedTuple):
    """The status for others (see `Placement`)."""

    state: PlacementState
    pid: int | None
    reason: str
    workers: int


def shown(status: Status) -> Shown:
    """Returns the status for others. The failure of a new worker is visible even while another one still answers."""
    own, trouble = status.answering, status.reason
    if status.state is not State.READY and status.standing_in is not None:
        whose = "a shorter way" if status.shorter else "an earlier host's worker"
        reason = f"answered by {whose}{trouble and f'; a new one {trouble}'}"
        return Shown(PlacementState.READY, status.standing_in, reason, 1)
    if status.state is not State.READY and own:
        reason = trouble and f"answered by its other workers; one {trouble}"
        return Shown(PlacementState.READY, own[0], reason, len(own))
    return Shown(_SHOWN[status.state], status.main, trouble, len(own))


# --- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Called:
    """A caller waits at the socket, or somebody wants the release to be active."""


@dataclass(frozen=True, slots=True)
class Started:
    """The main worker has a process, which is loading the model."""

    worker: int
    long: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The main worker, or another one, can answer. `notes` are about the release, where it is or becomes the main
    one."""

    worker: int
    notes: str = ""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The main worker could not be started, or has ended before it was ready. `long`: it was to use the model's own
    `predict`."""

    worker: int | None
    reason: str
    long: bool


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker that was ready has ended, or a helper before it was."""

    worker: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DelayOver:
    """The delay before the next start has ended."""


@dataclass(frozen=True, slots=True)
class ScaleToZero:
    """The release is to be scaled to zero."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Its workers are to be replaced by one that is started in a better way."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The worker is to be replaced by one that is started beside it, once that is ready."""

    worker: int


@dataclass(frozen=True, slots=True)
class Distrust:
    """Its answers cannot be trusted. It is served by the model's own `predict` from now on."""


@dataclass(frozen=True, slots=True)
class ScaleTo:
    """It is to have so many workers while it is active."""

    workers: int


@dataclass(frozen=True, slots=True)
class HelperStarted:
    """A helper has a process."""

    worker: int
    long: bool


@dataclass(frozen=True, slots=True)
class HelperNotStarted:
    """A helper could not be started."""


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """An earlier host has left another worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Nothing is started any more. The workers continue until `Stop`."""


@dataclass(frozen=True, slots=True)
class Stop:
    """All workers are to be stopped."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The host itself has failed."""

    reason: str


Event = (
    Called
    | Started
    | Ready
    | NotReady
    | Exited
    | DelayOver
    | ScaleToZero
    | Replace
    | Renew
    | Distrust
    | ScaleTo
    | HelperStarted
    | HelperNotStarted
    | LeftBehind
    | Halt
    | Stop
    | Fault
)

# --- actions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """New callers use this host's socket from now on."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """New callers find no socket any more."""


@dataclass(frozen=True, slots=True)
class AwaitCaller:
    """Wait for a caller at the socket."""


@dataclass(frozen=True, slots=True)
class IgnoreCallers:
    """Stop waiting for callers."""


@dataclass(frozen=True, slots=True)
class StartMain:
    """Start the main worker. `urgent`: callers wait for it."""

    cause: Cause | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class CancelStart:
    """Cancel the start of the main worker."""


@dataclass(frozen=True, slots=True)
class StartHelper:
    """Start a helper."""


@dataclass(frozen=True, slots=True)
class NoteReady:
    """Record a worker that is ready. `main`: its report describes the release."""

    worker: int
    main: bool


@dataclass(frozen=True, slots=True)
class Shed:
    """Have some of the worker's callers connect again, so that they are distributed to other workers."""

    worker: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Drain a worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Stop a worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The worker has ended."""

    worker: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer callers that they should come back after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EndRefusal:
    """Stop refusing callers."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Report `DelayOver` after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EndDelay:
    """Cancel the delay."""


Action = (
    Publish
    | Withdraw
    | AwaitCaller
    | IgnoreCallers
    | StartMain
    | CancelStart
    | StartHelper
    | NoteReady
    | Shed
    | Drain
    | StopWorker
    | Forget
    | Refuse
    | EndRefusal
    | Delay
    | EndDelay
)
