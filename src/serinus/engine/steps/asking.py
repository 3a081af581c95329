"""The requests that the gates send to a placed release: their protocols, sizes and routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from serinus import gates
from serinus.core.errors import InvalidInput, SerinusError, Unavailable
from serinus.core.examination import Rehearsal
from serinus.core.placement import Placement
from serinus.core.release import Artifact, Release, ServingSettings, VersionRef
from serinus.core.rollout import Rollout
from serinus.engine.steps.rows import Table
from serinus.engine.world import World
from serinus.spec import ModelDeployment

CELLS_A_REQUEST = 20_000
"""The number of values in a request, which keeps it well below the body limit whatever the number of columns."""
CELLS_A_REQUEST_OF_THE_CHAMPION = 2_000
"""The champion has callers, who wait behind such a request for some milliseconds instead of a quarter of a second."""
SECONDS_A_REQUEST = 60.0
TIMED_SECONDS = 60.0
"""The time after which no further request is timed, because there are enough or the model is far too slow."""
NO_FORM_FOR_MISSING = "has a missing value, for which bytes"
"""The text with which a worker refuses to answer in binary what JSON can express (`protocols.binary.check_present` of
the runtime)."""
OPEN_INFERENCE, GRPC, INVOCATIONS = "open-inference", "grpc", "invocations"


@dataclass(frozen=True, slots=True)
class Subject:
    """The release that is examined, and everything that the examination needs."""

    world: World
    rollout: Rollout
    spec: ModelDeployment
    ref: VersionRef
    artifact: Artifact
    release: Release
    placement: Placement
    champion: tuple[Release, Placement] | None

    @property
    def candidate(self) -> tuple[Release, Placement]:
        """The candidate with its placement."""
        return self.release, self.placement

    @property
    def together(self) -> bool:
        """Whether the rows of a request form one question."""
        return self.release.settings.rows == "together"

    def score(self, whom: tuple[Release, Placement], table: Table) -> Sequence[float | None]:
        """Returns one score for each row, in as many requests as needed. Rows that belong together are sent in one
        request."""
        cells = CELLS_A_REQUEST if whom[0] is self.release else CELLS_A_REQUEST_OF_THE_CHAMPION
        size = max(1, len(table.rows) if self.together else cells // max(1, len(table.columns)))
        scores: list[float | None] = []
        for start in range(0, len(table.rows), size):
            found, _ = self.ask(whom, table.of(table.rows[start : start + size]))
            scores.extend(found)
        return scores

    def ask(self, whom: tuple[Release, Placement], table: Table) -> tuple[Sequence[float | None], float]:
        """Returns the scores of one request without the router, and its duration in seconds."""
        release, placement = whom
        scorer = self.world.scorer
        by_tensors = table.tensors and OPEN_INFERENCE in protocols(release.settings)
        if by_tensors and release.settings.rows == "each":
            scored = scorer.score(placement.endpoint, table.columns, table.rows, SECONDS_A_REQUEST)
            return scored.scores, scored.seconds
        replied = scorer.ask(placement.endpoint, release, INVOCATIONS, table.question(), SECONDS_A_REQUEST)
        return replied.scores, replied.seconds

    def timed(self, table: Table, times: int) -> Sequence[float]:
        """Returns the durations, in seconds, of so many requests to the candidate, or of fewer where they take too
        long."""
        began, seconds = monotonic(), list[float]()
        while len(seconds) < times and (monotonic() - began < TIMED_SECONDS or not seconds):
            rows = table.rows if self.together else [table.rows[len(seconds) % len(table.rows)]]
            seconds.append(self.seconds(table.of(rows)))
        return seconds

    def seconds(self, table: Table) -> float:
        """Returns the duration of one request in seconds."""
        try:
            return self.ask(self.candidate, table)[1]
        except SerinusError:
            return SECONDS_A_REQUEST  # A missing answer is not a fast one. Other gates report the error.


def protocols(settings: ServingSettings) -> Sequence[str]:
    """Returns the protocols of the release. The Open Inference Protocol may also be used over gRPC."""
    return [name for one in settings.protocols for name in ((one, GRPC) if one == OPEN_INFERENCE else (one,))]


def asked(subject: Subject, rehearsal: Rehearsal) -> gates.AskedEvidence:
    """Returns the answers through the router, by each protocol. Raises Unavailable where the router does not answer."""
    question = rehearsal.question
    if question is None:
        source = rehearsal.source if rehearsal.refused else ""
        return gates.AskedEvidence(source, reason=rehearsal.reason, refused=rehearsal.refused)
    world, release = subject.world, subject.release
    milliseconds = round(1000 * SECONDS_A_REQUEST)
    address = world.router.probe(release, subject.placement.endpoint, milliseconds)
    try:
        checks = [_checked(subject, rehearsal, address, protocol) for protocol in protocols(release.settings)]
    finally:
        world.router.end_probe(release.model)
    return gates.AskedEvidence(
        rehearsal.source,
        rehearsal.rows,
        len(rehearsal.answers),
        tuple(checks),
        compared=not _answers_in_several_ways(subject),
        together=subject.together,
    )


def _checked(subject: Subject, rehearsal: Rehearsal, address: str, protocol: str) -> gates.ProtocolCheck:
    question = rehearsal.question
    assert question is not None
    if protocol != INVOCATIONS and question.tensors is None:
        return gates.ProtocolCheck(protocol, unasked="the Open Inference Protocol cannot carry these rows")
    try:
        # The router's own error means that the router is there and the release has not answered in time.
        replied = subject.world.scorer.ask(address, subject.release, protocol, question, SECONDS_A_REQUEST + 5)
    except Unavailable:
        raise
    except InvalidInput as error:
        if NO_FORM_FOR_MISSING in str(error):
            return gates.ProtocolCheck(protocol, unasked="it cannot carry the missing values in the answer")
        return gates.ProtocolCheck(protocol, error=str(error))
    except SerinusError as error:
        return gates.ProtocolCheck(protocol, error=str(error))
    if _answers_in_several_ways(subject):
        return gates.ProtocolCheck(protocol)
    return gates.ProtocolCheck(protocol, gates.differing(rehearsal.answers, replied.answers))


def _answers_in_several_ways(subject: Subject) -> bool:
    plan = subject.rollout.plan
    return subject.release.settings.one_at_a_time or (plan is not None and "one-at-a-time" in plan.accepts)
