"""What Serinus needs of the world. One contract suite for each port, `tests/contracts/`, runs on every implementation.

Every method is safe to repeat. Errors: `Unavailable` (temporary) where the other side does not answer; what else a
method may raise is said with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from serinus.core.disturbance import Disturbance
from serinus.core.rollout import ModelState, Order, Rollout
from serinus.core.values import (
    Access,
    Actor,
    AnsweredRequest,
    ArmCounts,
    Artifact,
    AuditEntry,
    Compiled,
    Environment,
    Event,
    Followed,
    GivenRows,
    HourCounts,
    Label,
    Mark,
    OutcomeMatches,
    OwnAnswer,
    Placement,
    Question,
    ReadRows,
    Rehearsal,
    Release,
    Requirements,
    Routing,
    Totals,
    Traffic,
    VersionRef,
    Watch,
)


class Clock(Protocol):
    """Tells the time, so that tests can."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...


class Registry(Protocol):
    """Where versions are registered. Implementations: backends/mlflow."""

    def find(self, model: str, version_or_alias: str) -> VersionRef:
        """`7`, `@challenger` or `challenger`. NotFound names the versions or aliases that there are."""
        ...

    def newest(self, model: str) -> VersionRef:
        """The version that was registered last and is ready. NotFound names near models."""
        ...

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        """Every model -> alias -> version. One cheap call: it is polled."""
        ...

    def who_set(self, model: str, alias: str, version: str) -> str:
        """Owner of the token by which the alias was set to this version; empty where the registry does not know."""
        ...

    def set_alias(self, model: str, alias: str, version: str) -> None: ...

    def drop_alias(self, model: str, alias: str) -> None:
        """Nothing happens where there is none."""
        ...

    def fetch(self, ref: VersionRef) -> Artifact:
        """The version's files on this machine, kept by digest, and what they say, without loading anything.

        Raises Unbuildable: missing files, a Git LFS pointer in place of a file, no python_function flavour, no
        environment declared. A second call for the same version downloads nothing.
        """
        ...

    def run_file(self, ref: VersionRef, name: str) -> Path | None:
        """A file that was logged with the version's run or its model (`evaluation.parquet`), or None."""
        ...


class Environments(Protocol):
    """Builds what a model runs in. Implementations: backends/uv."""

    def prepare(
        self,
        requirements: Requirements,
        loads: Callable[[Environment], str | None],
        say: Callable[[str], None],
    ) -> Environment:
        """The environment for `requirements`, built at most once for one lock, whoever asks at the same time.

        `loads` is asked of a built environment and answers None, or the reason why the model does not load in it:
        then another lock is tried, as of another day or from `alternatives`. Where no environment would help it raises
        Unbuildable, and nothing else is built. `say` gets progress, a line each. Raises Unbuildable with the reason in
        words, Unavailable.
        """
        ...


class Compiler(Protocol):
    """Turns a model and its preprocessing into one ONNX graph. Implementations: backends/onnx."""

    def prepare(self) -> None:
        """Has the compiled environment built, so that the first deployment need not wait for it. Raises Unbuildable,
        Unavailable."""
        ...

    def compile(
        self,
        artifact: Artifact,
        environment: Environment,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        say: Callable[[str], None],
    ) -> Compilation:
        """Written in the model's own environment and asked `rows`, beside rows at the edges, in the compiled one; once
        for the same artifact, environment and rows, whoever asks at the same time. Never raises: a model that cannot
        be compiled is served as it is."""
        ...

    def distrust(self, digest: str) -> None:
        """The compiled model answers otherwise than the model: `compile` never gives it again. A later version of what
        writes graphs writes another one. Raises OSError."""
        ...

    def sweep(self, used: Collection[str]) -> None:
        """Removes what is kept of compiled models whose digest is not in `used` and that were not asked for since a
        day. Never raises: what cannot be removed now is tried the next time."""
        ...


class Compilation(Protocol):
    """What became of it. Row numbers are of the proof: first `rows` and the input example's, then the edges."""

    @property
    def compiled(self) -> Compiled | None: ...
    @property
    def reason(self) -> str:
        """In words, why there is no graph."""
        ...

    @property
    def proof(self) -> Mapping[str, Any]:
        """As `serinus_runtime.trials.prove` prints it; empty where there is no graph."""
        ...


class Target(Protocol):
    """Where releases run. Implementations: backends/host."""

    def place(self, release: Release) -> None:
        """Have it running, from now on and after a restart. Returns at once; `observe` tells what became of it."""
        ...

    def remove(self, release_id: str) -> None:
        """Drains and stops it. Nothing happens where it is not."""
        ...

    def wake(self, release_id: str) -> None:
        """Has a release that is asleep up before it is asked for, and keeps it up for some minutes. Returns at once.
        NotFound: it is not placed."""
        ...

    def distrust(self, release_id: str) -> None:
        """Has it served the long way, by the model's own predict in its own environment, from now on, whenever it is
        placed, and after every restart; nothing takes that back. No request fails by it. Durable on return; `observe`
        tells when a worker that goes the long way is ready."""
        ...

    def observe(self) -> Mapping[str, Placement]:
        """Every placed release."""
        ...


class Router(Protocol):
    """Sends each request to a release. Implementations: backends/envoy."""

    def apply(self, routing: Routing) -> None:
        """Makes `routing` the one in force for new requests; returns once it is. Idempotent; no request in flight
        fails. Raises Unavailable: the old one stays in force."""
        ...

    def in_force(self, model: str) -> Routing | None:
        """Read back from the router, not remembered; None: the model is not routed. Raises Unavailable."""
        ...

    def remove(self, model: str) -> None:
        """Stops routing the model: callers are told that no such model is served."""
        ...

    def retire(self, model: str) -> None:
        """Stops routing the model: callers get 410, and are told that it is retired, until the next `apply` or
        `remove`. Idempotent. Raises Unavailable: what was in force stays in force."""
        ...

    def probe(self, release: Release, endpoint: str, timeout_ms: int) -> str:
        """Makes `release` reachable, by the routes that its callers would use, at the Unix socket whose path is
        returned: to the control plane alone, whatever is in force for callers. Nothing that is asked so is counted or
        kept. Returns once it is reachable; another release of the same model takes its place. Raises Unavailable."""
        ...

    def end_probe(self, model: str) -> None:
        """Ends what `probe` began. Nothing happens where there is none."""
        ...


class PredictionLog(Protocol):
    """Every answered request, and what is counted of them. Implementations: backends/delta."""

    def watch(self, watch: Watch) -> None:
        """Counts from now on under `watch.split`. To be called before the split is in force. Repeating changes
        nothing; another watch for the same split is Refused."""
        ...

    def counts(self, split: str) -> Mapping[str, ArmCounts] | None:
        """Release -> counts; None: not known (no such watch, or the log is not there)."""
        ...

    def follow(self, followed: Followed) -> None:
        """Counts the release from now on, under whatever split it answers. Repeating changes nothing; with another
        threshold or limit, what is counted from now on goes by that."""
        ...

    def followed(self) -> Mapping[str, ArmCounts] | None:
        """Release -> totals and `..._in_window` since it was first followed, which only grow, of the followed
        releases that have answered; None: not known."""
        ...

    def hours(self, releases: Collection[str], since: datetime) -> Sequence[HourCounts]:
        """Of each hour from the one of `since` on in which one of `releases` was followed and has answered; of the
        last five weeks at most. Oldest first. Raises Unavailable."""
        ...

    def disturbance(self, model: str) -> Disturbance | None:
        """Of which the model's requests are set aside now, in both arms: the one that has gone on for longest. None:
        they are counted. Never raises."""
        ...

    def traffic(self, model: str, seconds: float) -> Mapping[str, Traffic]:
        """Release -> what it answered in the last `seconds` (rounded up to whole minutes, an hour at most)."""
        ...

    def totals(self) -> Mapping[str, Totals]:
        """Release -> its counters, also of releases that are gone."""
        ...

    def sample(
        self, releases: Collection[str], after: Mark | None, most: int
    ) -> tuple[Mark, Sequence[AnsweredRequest]]:
        """Of what each of `releases` has answered since `after`, by the model and not by a fallback: at most `most`
        requests a release, drawn at random; and up to where that was. None: of the newest that there are.
        Reads a bounded amount: what it passes over is not answered later. Raises Unavailable."""
        ...

    def warnings(self) -> Sequence[str]:
        """What it cannot do now, or has lost, a sentence each; empty where all is well. Never raises."""
        ...

    def retain(self, model: str, days: int) -> None:
        """How long the model's records are kept, from now on."""
        ...

    def label(self, labels: Iterable[Label]) -> int:
        """Attaches outcomes, durable on return; how many were new or corrected an earlier one."""
        ...

    def matches(self) -> OutcomeMatches:
        """How outcomes and predictions meet. Reads the whole log. Raises Unavailable."""
        ...


class Fleet(Protocol):
    """The Git repository that says what should run. Implementations: backends/git."""

    def read(self, model: str) -> str | None:
        """The model's ModelDeployment as YAML text, or None."""
        ...

    def write(self, model: str, text: str, *, who: str, why: str) -> str:
        """Commits, if that changes anything; the commit's id."""
        ...

    def publish(self, model: str, live: Mapping[str, Any], *, who: str, why: str) -> str:
        """Commits what is live of the model (version, release, digests, threshold), or that it is `retired` and since
        when, if that changes anything; the commit's id."""
        ...

    def live(self, model: str) -> Mapping[str, Any] | None:
        """What was last published, or None."""
        ...


class Scorer(Protocol):
    """Asks a placed release, past the router. Implementations: backends/host."""

    def score(self, endpoint: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], timeout: float) -> Scored:
        """One request with all `rows`. Raises TemporaryError where there was no answer, InvalidInput where the
        release refused the rows (its words, without values)."""
        ...

    def ask(self, address: str, release: Release, protocol: str, question: Question, timeout: float) -> Replied:
        """One request by `protocol` (`open-inference`, `invocations` or `grpc`) to the Unix socket `address`: the
        release's own, or what `Router.probe` returned. Errors as of `score`."""
        ...


class Replied(Protocol):
    """An answer, row by row: all its values as JSON has them, and the score (None for what is not a finite number)."""

    @property
    def answers(self) -> Sequence[Sequence[Any]]: ...
    @property
    def scores(self) -> Sequence[float | None]: ...
    @property
    def seconds(self) -> float: ...


class Scored(Protocol):
    """An answer: one score a row (None for what is not a finite number), and how long it took."""

    @property
    def scores(self) -> Sequence[float | None]: ...
    @property
    def seconds(self) -> float: ...


class Trials(Protocol):
    """Looks at a model in a confined process of its own. Implementations: backends/host."""

    def scan(self, artifact: Path) -> Mapping[str, Any]:
        """What its pickles would import, without loading anything: `{"pickles": [{"file", "imports"}], "other"}`."""
        ...

    def loads(self, environment: Environment, artifact: Path) -> str | None:
        """None: it loads in that environment; else why not, in words. Raises Unbuildable where it would load in no
        other either: a file is lost, a module of the model's own, or it needs too much memory or time."""
        ...

    def reference(
        self,
        python: Path,
        artifact: Path,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        score_output: str | None,
    ) -> Sequence[float | None]:
        """The scores that the model's own `predict` gives for a frame of these rows: the training path.
        Raises Unbuildable with the reason."""
        ...

    def rehearse(self, release: Release, given: GivenRows | None) -> Rehearsal:
        """Loads the release's model and asks its own `predict` for the first time: with its input example, else the
        `given` rows, else rows that are made for it. Raises Unbuildable where it does not load."""
        ...

    def golden(self, file: Path) -> ReadRows:
        """The rows of a JSON file, with the scores of training time where it has them. InvalidInput says what is wrong
        with the file, or that it is larger than what is read."""
        ...

    def evaluation(self, file: Path, label: str, entity: str, inputs: Sequence[str] | None) -> ReadRows:
        """The labelled rows of a Parquet, CSV or JSON-lines file. `inputs`: the model's columns; None: all but the
        label. Errors as of `golden`."""
        ...


class Rescorer(Protocol):
    """Answers again what a shorter way has answered, behind everything else. Implementations: backends/host."""

    def rescore(self, release: Release, requests: Sequence[AnsweredRequest]) -> Rescored:
        """By the model's own predict, each request by itself, in a confined process of its own and of the lowest
        priority. Raises Unbuildable with the reason: the model does not load, or takes too long."""
        ...


class Rescored(Protocol):
    """`answers`: one a request, None where the model did not answer it. `seconds`: of processor time."""

    @property
    def answers(self) -> Sequence[OwnAnswer | None]: ...
    @property
    def seconds(self) -> float: ...


class Store(Protocol):
    """The state that must not be lost. Implementations: backends/sql. Every write is one transaction."""

    # rollouts
    def create(self, rollout: Rollout, events: Sequence[Event] = ()) -> None:
        """Refused where one of the same model is in flight (checked in the same transaction)."""
        ...

    def save(self, rollout: Rollout, state: ModelState | None = None, events: Sequence[Event] = ()) -> None:
        """Rollout, the model's state and the events together."""
        ...

    def rollout(self, rollout_id: str) -> Rollout:
        """NotFound names near ones."""
        ...

    def in_flight(self) -> Sequence[Rollout]: ...

    def rollouts(self, model: str | None = None, limit: int = 50) -> Sequence[Rollout]:
        """Newest first."""
        ...

    def next_number(self, model: str) -> int:
        """For rollout ids; never the same twice."""
        ...

    def order(self, rollout_id: str, order: Order) -> None: ...

    def orders(self, rollout_id: str) -> Sequence[Order]: ...

    # models and releases
    def models(self) -> Sequence[ModelState]: ...

    def model(self, model: str) -> ModelState:
        """An empty state where there is none yet."""
        ...

    def save_model(self, state: ModelState, events: Sequence[Event] = ()) -> None: ...

    def add_release(self, release: Release) -> None:
        """Nothing happens where it is there."""
        ...

    def releases(self, model: str | None = None) -> Sequence[Release]:
        """Newest first."""
        ...

    # events
    def events(self, after: int = 0, model: str | None = None, limit: int = 200) -> Sequence[Event]:
        """With number > `after`, oldest first; with `after` 0 the last `limit`."""
        ...

    def emit(self, events: Sequence[Event]) -> None: ...

    # audit
    def audit(self, actor: Actor, what: str, subject: str, why: str, details: Mapping[str, Any], at: datetime) -> None:
        """Appends to the hash chain."""
        ...

    def audit_trail(self, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]: ...

    def audit_broken_at(self) -> int | None:
        """Number of the first entry that does not fit the chain, or None: the whole chain holds."""
        ...

    # tokens
    def issue_token(
        self,
        name: str,
        access: Access,
        at: datetime,
        *,
        plane: str = "control",
        owner: str = "",
        models: Collection[str] | None = None,
    ) -> str:
        """A new token, returned once and stored hashed. Refused: the name is taken by one that is not revoked.
        `plane`: `control` for the API, `data` for callers of models. `owner`: the person or service that it is for,
        for ever; empty: of the name itself. `models`: those that it opens on the data plane; None: all."""
        ...

    def own_token(self, name: str, owner: str) -> bool:
        """Gives an owner to a token that was issued by a version before owners; False: there is no such token."""
        ...

    def whose_token(self, secret: str, *, plane: str = "control") -> Actor | None: ...

    def revoke_token(self, name: str, at: datetime) -> None: ...

    def tokens(self) -> Sequence[Mapping[str, Any]]:
        """name, owner, access, plane, models, issued_at, revoked_at; never the secret or its hash."""
        ...

    # orderly small things
    def setting(self, key: str) -> str | None: ...

    def set_setting(self, key: str, value: str) -> None: ...
