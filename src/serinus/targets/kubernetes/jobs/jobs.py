"""Asks questions in Jobs of a cluster."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from serinus_runtime.pod.frame import MOST_LINES

from serinus.core.errors import NotFound, SerinusError, TemporaryError, Unavailable
from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.cluster.kinds import EVENT, JOB, POD
from serinus.targets.kubernetes.jobs import manifests
from serinus.targets.kubernetes.jobs.outcomes import Outcome, Stage, begun, outcome
from serinus.targets.kubernetes.jobs.posing import Posed, answer_in, pose
from serinus.targets.kubernetes.jobs.settings import JobSettings
from serinus.targets.kubernetes.manifests.pod import CONTAINER
from serinus.targets.trials import Answer, Failed, Question

log = logging.getLogger(__name__)

_FIRST_LOOK, _LONGEST_PAUSE = 0.2, 1.0
"""Seconds between two looks at a Job."""
_AWAY_SECONDS = 30.0
"""For which the API server may be away while a Job runs."""
_LATE_SECONDS = 10.0
"""For which an answer is looked for in a log, after the container has ended."""
_THIS_PROCESS = secrets.token_hex(8)


class Jobs:
    """Safe for several threads. For each owner one process asks at a time. Before its first question it removes the
    Jobs of another one, which was killed and does not wait for them any more."""

    def __init__(
        self,
        cluster: Cluster,
        settings: JobSettings,
        *,
        asker: str = _THIS_PROCESS,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`asker` is the process that asks, as a value of a label. `clock` and `pause` are those of the system."""
        self._cluster, self._settings, self._asker = cluster, settings, asker
        self._clock, self._pause = clock, pause
        self._swept = False

    def ask(self, image: str, question: Question) -> Answer:
        """Asks in a pod of `image`, and removes everything afterwards. Takes seconds, or minutes where the image has to
        be pulled.

        Raises Failed where the model gives no answer, Unbuildable where the question is too large, and Unavailable,
        with the reason in words, where the cluster does not run the pod, or lost it.
        """
        settings, name = self._settings, f"serinus-trial-{secrets.token_hex(8)}"
        posed = pose(question, settings)
        self._sweep()
        self._cluster.apply(manifests.network_policy(settings), force=True)
        job = manifests.job(name, question.module, image, self._asker, posed, settings)
        try:
            uid = self._cluster.create(job)["metadata"]["uid"]
            # They belong to the Job, so that nothing is left of a process that ends here: its pod waits for them until
            # the deadline of the Job.
            for secret in manifests.question(name, uid, posed, settings):
                self._cluster.create(secret)
            return self._answer(name, posed)
        finally:
            self._remove(name)

    def _sweep(self) -> None:
        if self._swept:
            return
        namespace = self._settings.namespace
        for job in self._cluster.list(JOB, namespace, labels=manifests.of_owner(self._settings)).items:
            if job["metadata"]["labels"].get(manifests.ASKER_LABEL) != self._asker:
                self._cluster.delete(JOB, job["metadata"]["name"], namespace)
        self._swept = True

    def _answer(self, name: str, posed: Posed) -> Answer:
        found = self._ended(name)
        if found.stage is Stage.EXCEEDED:
            raise Failed(found.reason, environment=False)
        if found.stage is Stage.ENDED:
            raise Unavailable(f"The model could not be examined in the cluster: {found.reason}.")
        until = self._clock() + _LATE_SECONDS
        while True:
            try:
                return answer_in(self._lines(found.pod), posed)
            except TemporaryError:
                if self._clock() > until:
                    raise
            self._pause(_LONGEST_PAUSE)

    def _lines(self, pod: str) -> list[str]:
        try:
            return list(self._cluster.log(pod, self._settings.namespace, CONTAINER, MOST_LINES))
        except NotFound as error:
            raise Unavailable("The model could not be examined in the cluster: its pod was deleted.") from error

    def _ended(self, name: str) -> Outcome:
        """Waits for the end. Raises Unavailable where it does not begin."""
        waiting, backoff = _Waiting(self._settings, self._clock), Backoff(_FIRST_LOOK, _LONGEST_PAUSE)
        while True:
            self._pause(backoff.pause())
            try:
                found = self._look(name)
            except TemporaryError as error:
                waiting.lost(error)
                continue
            if found.stage not in (Stage.WAITING, Stage.RUNNING):
                return found
            waiting.see(found)

    def _look(self, name: str) -> Outcome:
        namespace = self._settings.namespace
        pods = self._cluster.list(POD, namespace, labels={manifests.JOB_LABEL: name}).items
        if (known := begun(pods)) is not None:
            return known
        job = self._cluster.find(JOB, name, namespace)
        events = self._cluster.list(EVENT, namespace, fields={"type": "Warning"}).items
        return outcome(job, pods, events)

    def _remove(self, name: str) -> None:
        try:
            self._cluster.delete(JOB, name, self._settings.namespace)
        except SerinusError as error:
            log.warning("The Job %s is removed by its own deadline: %s", name, error)


@dataclass(slots=True)
class _Waiting:
    """How long is waited, and for what."""

    settings: JobSettings
    clock: Callable[[], float]
    began: float = field(init=False)
    away_since: float | None = None
    reason_since: float | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()

    def lost(self, error: TemporaryError) -> None:
        """The API server did not answer. Raises it where that lasts."""
        now = self.clock()
        self.away_since = now if self.away_since is None else self.away_since
        if now - self.away_since > _AWAY_SECONDS:
            raise error

    def see(self, found: Outcome) -> None:
        """It has not ended. Raises Unavailable where it takes too long."""
        now, settings = self.clock(), self.settings
        self.away_since = None
        if now - self.began > settings.deadline_seconds:
            raise Unavailable("The model could not be examined in the cluster: its pod does not end.")
        if found.stage is Stage.RUNNING:
            return
        if not found.reason:
            self.reason_since = None
        elif self.reason_since is None:
            self.reason_since = now
        elif now - self.reason_since > settings.patience_seconds:
            raise Unavailable(f"The model cannot be examined in the cluster yet: {found.reason}.", delay=15.0)
        if now - self.began > settings.start_seconds:
            why = found.reason or "its pod did not start in time"
            raise Unavailable(f"The model cannot be examined in the cluster yet: {why}.", delay=15.0)
