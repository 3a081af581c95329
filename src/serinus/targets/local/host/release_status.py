"""What the host knows of one release: its status, the events that change it, and the actions that follow.

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
    STARTING = "starting"
    """A worker waits for its turn to be started, or loads the model."""
    ACTIVATING = "activating"
    """The same, after the release was scaled to zero."""
    RETRYING = "retrying"
    """The same, after a worker that did not become ready."""
    READY = "ready"
    SCALED_TO_ZERO = "scaled-to-zero"
    """There is no worker: the next caller activates it."""
    RESTARTING = "restarting"
    """Its worker ended while it served. Callers wait for the next one, which is started after a delay."""
    FAILED = "failed"
    """Its worker did not become ready. Callers are refused until the next one is started, after a delay."""
    DRAINING = "draining"
    """It was removed, or the host stops: no worker is started any more."""


LOADING = frozenset({State.STARTING, State.ACTIVATING, State.RETRYING})
DELAYED = frozenset({State.RESTARTING, State.FAILED})
PLACED = frozenset(State) - {State.DRAINING}


@dataclass(frozen=True, slots=True)
class Status:
    """Each worker that this host knows has one part. One that was told to stop has none any more."""

    state: State
    since: float
    """When it became ready; seconds of a monotonic clock."""
    reason: str = ""
    """Of a release that is ready its notes; else why its last worker ended. Empty where nothing is to be said."""
    main: int | None = None
    """The worker that loads or serves."""
    helpers: tuple[int, ...] = ()
    """Workers beside it, as load asks for them; those that still load included."""
    helpers_asked: int = 0
    """Helpers that are being started."""
    previous: int | None = None
    """The worker that an earlier host left: it answers until `main` is ready."""
    shorter: tuple[int, ...] = ()
    """Workers that go a shorter way than they should: they answer until `main`, which goes the long one, is ready."""
    renewing: int | None = None
    """The one of `main` and `helpers` in whose place another is being started: it answers until that is ready."""
    renewal: int | None = None
    """That one, among `helpers`; None: it has no process yet."""
    draining: frozenset[int] = frozenset()
    """Workers that end when nobody is connected to them any more."""
    ready: frozenset[int] = frozenset()
    """Of all these but the draining ones, those that answer."""
    long: bool = False
    """The release is served the long way."""
    main_long: bool = False
    """`main` goes the long way."""
    inherited: bool = False
    """`previous` listens on the socket that this host listens on."""
    cause: Cause | None = None
    """Why the next worker is started, where that is the platform's doing."""
    failures: int = 0
    """Workers in a row that ended before they had been ready for long."""
    retry_at: float = 0.0
    """When the delay is over, of RESTARTING and FAILED."""
    restarts: int = 0

    @property
    def answering(self) -> Sequence[int]:
        """Main worker and helpers that answer, the main one first."""
        return [one for one in (self.main, *self.helpers) if one is not None and one in self.ready]

    @property
    def standing_in(self) -> int | None:
        """A worker that answers until another one takes its place."""
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
    """What others are told of a release: see `Placement`."""

    state: PlacementState
    pid: int | None
    reason: str
    workers: int


def shown(status: Status) -> Shown:
    """What keeps a new worker from coming up must be seen while another one still answers."""
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
    """A caller waits at the socket, or somebody wants the release to be up."""


@dataclass(frozen=True, slots=True)
class Started:
    """The main worker has a process, which loads the model."""

    worker: int
    long: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The main worker, or another one, can answer. `notes`: what is to be known of the release where it is, or
    becomes, the main one."""

    worker: int
    notes: str = ""


@dataclass(frozen=True, slots=True)
class NotReady:
    """The main worker could not be started, or has ended before it was ready. `long`: it was to go the long way."""

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
    pass


@dataclass(frozen=True, slots=True)
class ScaleToZero:
    pass


@dataclass(frozen=True, slots=True)
class Replace:
    """Its workers make room for one that is started in a better way."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The worker makes room for one that is started beside it, once that is ready."""

    worker: int


@dataclass(frozen=True, slots=True)
class Distrust:
    """Its answers cannot be trusted: it is served the long way from now on."""


@dataclass(frozen=True, slots=True)
class ScaleTo:
    """It is to have so many workers, while it has any."""

    workers: int


@dataclass(frozen=True, slots=True)
class HelperStarted:
    worker: int
    long: bool


@dataclass(frozen=True, slots=True)
class HelperNotStarted:
    pass


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """An earlier host has left one worker more."""

    worker: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Nothing is started any more. The workers go on until `Stop`."""


@dataclass(frozen=True, slots=True)
class Stop:
    pass


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
    """New callers come to this host's socket from now on."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """New callers find no socket any more."""


@dataclass(frozen=True, slots=True)
class AwaitCaller:
    pass


@dataclass(frozen=True, slots=True)
class IgnoreCallers:
    pass


@dataclass(frozen=True, slots=True)
class StartMain:
    """`urgent`: callers wait for it."""

    cause: Cause | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class CancelStart:
    pass


@dataclass(frozen=True, slots=True)
class StartHelper:
    pass


@dataclass(frozen=True, slots=True)
class NoteReady:
    """`main`: what it says of itself is what is told of the release."""

    worker: int
    main: bool


@dataclass(frozen=True, slots=True)
class Shed:
    """The worker's callers are to connect anew, so that some of them come to another worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Drain:
    worker: int


@dataclass(frozen=True, slots=True)
class StopWorker:
    worker: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The worker has ended."""

    worker: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Callers are told to come back after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EndRefusal:
    pass


@dataclass(frozen=True, slots=True)
class Delay:
    seconds: float


@dataclass(frozen=True, slots=True)
class EndDelay:
    pass


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
