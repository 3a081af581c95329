"""The port Environments on uv. Locks are tried as of the day on which the model was logged, and then with the newest
packages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product
from pathlib import Path

from serinus.backends.uv.building import Builder
from serinus.backends.uv.command import Uv
from serinus.backends.uv.confined import Confined
from serinus.backends.uv.interpreters import Interpreter, Interpreters
from serinus.backends.uv.locking import Lock, Locks, Wanted
from serinus.backends.uv.options import Allowed
from serinus.backends.uv.sources import Sources
from serinus.backends.uv.words import NoWheel
from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.release import Combination, Environment, Requirements
from serinus.core.storage import Stored

_MOST_BUILT = 20
"""The largest number of packages of one environment that are built from source."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    wanted: Wanted
    as_of: date | None
    source: str = ""
    """The origin of the requirements, where several combinations are tried."""
    extra: str = ""
    build: bool = False
    """Whether packages without a wheel are built from source."""

    @property
    def label(self) -> str:
        parts = [f"from {self.source}"] if self.source else []
        parts.append(
            f"package versions of {self.as_of}, when the model was logged" if self.as_of else "newest package versions"
        )
        if self.extra:
            parts.append(f"with {self.extra}")
        if self.build:
            parts.append("with packages built from source where there is no wheel")
        return ", ".join(parts)


class UvEnvironments:
    """Implements `core.ports.Environments` and `core.storage.Storage` with environments below `directory`, by the
    digest of their lock.

    - `interpreters`: Python interpreters in addition to those that are found.
    - `always`: packages that every environment must have. They are added where the requirements name neither them nor a
      smaller variant (`mlflow-skinny`).
    - `build_from_source`: a package without a wheel may be built, which runs its code, confined.
    - `confined`: processes that read or build packages are confined as models are.
    - `accelerate`: environments get libraries that make workers faster.
    - `indexes`: package indexes that requirements may name, with the credentials that they need. The index that uv is
      configured with need not be listed.
    """

    def __init__(
        self,
        directory: Path,
        *,
        interpreters: Sequence[Path] = (),
        uv: Path | None = None,
        always: Sequence[str] = ("mlflow",),
        build_from_source: bool = False,
        confined: bool = True,
        accelerate: bool = True,
        indexes: Collection[str] = (),
    ) -> None:
        command = Uv(uv)
        self._interpreters = Interpreters(command, directory / "interpreters.json", interpreters)
        self._locks = Locks(command, directory / "resolved")
        self._builder = Builder(command, directory, accelerate=accelerate, confined=confined)
        tools = Builder(command, directory, accelerate=False, confined=confined)
        self._sources = Sources(command, self._locks, tools, directory / "built", Confined(confined))
        self._allowed = Allowed(indexes)
        self._always = tuple(always)
        self._build_from_source = build_from_source

    def prepare(
        self,
        requirements: Requirements,
        loads: Callable[[Environment], str | None],
        say: Callable[[str], None],
    ) -> Environment:
        """See `core.ports.Environments.prepare`. Raises Unbuildable with the attempts, and Unavailable where the index
        does not answer or the disk is full."""
        self._builder.sweep()
        choice = self._interpreters.choose(requirements.python, say)
        combinations, notes = self._wanted(requirements)
        tried = [note for note in (choice.note, *notes) if note]
        for note in tried:
            say(note)
        trial = _Trial(requirements, tried)
        for attempt in trial.attempts(combinations, build_from_source=self._build_from_source):
            try:
                lock, wanted = self._locked(attempt, choice.interpreter, say)
                if lock.digest in trial.refused:
                    tried.append(f"{attempt.label}: the same lock")
                    continue
                environment = self._builder.build(lock, wanted, say)
            except OSError as error:
                raise Unavailable(f"no environment can be written: {error.strerror}.", delay=30) from error
            except Unbuildable as error:
                trial.failures.append(error)
                tried.append(f"{attempt.label}: {error.message}")
                say(tried[-1])
                continue
            reason = loads(environment)
            tried.append(f"{attempt.label}: {reason or 'the model loads'}")
            if reason is None:
                return replace(environment, tried=tuple(tried))
            say(tried[-1])
            trial.refused[lock.digest] = reason
        raise trial.hopeless()

    @property
    def kind(self) -> str:
        return "environments"

    def stored(self) -> Sequence[Stored]:
        return self._builder.stored()

    def remove(self, name: str, since: float) -> bool:
        return self._builder.remove(name, since)

    def _locked(self, attempt: _Attempt, interpreter: Interpreter, say: Callable[[str], None]) -> tuple[Lock, Wanted]:
        """Returns the lock, and the requirements with the wheels that were built for it. Raises Unbuildable,
        Unavailable and OSError."""
        wanted = attempt.wanted
        while True:
            try:
                return self._locks.resolve(wanted, interpreter, attempt.as_of, say), wanted
            except NoWheel as error:
                if not attempt.build or len(wanted.built) == _MOST_BUILT:
                    raise
                wheel = self._sources.wheel(error, wanted, interpreter, attempt.as_of, say)
                if wheel in wanted.built:
                    raise
                wanted = replace(wanted, built=(*wanted.built, wheel))

    def _wanted(self, requirements: Requirements) -> tuple[Sequence[tuple[str, Wanted]], Sequence[str]]:
        """Returns every combination with its origin, and notes about what was added or left out."""
        notes: list[str] = []
        combinations = []
        first = Combination(requirements.source, requirements.packages)
        for one in (first, *requirements.alternatives):
            lines, left_out = self._allowed.followed(one.packages)
            wanted, added = self._completed(Wanted.of(lines))
            self._allowed.check(wanted.packages)
            combinations.append((one.source if requirements.alternatives else "", wanted))
            notes += [*left_out, added]
        return combinations, tuple(dict.fromkeys(notes))

    def _completed(self, wanted: Wanted) -> tuple[Wanted, str]:
        missing = [name for name in self._always if not wanted.names & {name, f"{name}-skinny"}]
        if not missing:
            return wanted, ""
        return wanted.also(*missing), f"added what is needed to load a model and was not required: {', '.join(missing)}"


@dataclass(slots=True)
class _Trial:
    """The attempts for one model, and the ones that remain."""

    requirements: Requirements
    tried: list[str]
    failures: list[Unbuildable] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Why the model did not load, by the digest of the lock."""

    def attempts(self, combinations: Sequence[tuple[str, Wanted]], *, build_from_source: bool) -> Iterator[_Attempt]:
        """Yields the attempts: one combination after the other, as of the day of logging before the newest packages,
        and wheels before building from source."""
        logged_at = self.requirements.logged_at
        dates = [logged_at.date(), None] if logged_at else [None]
        for building in (False, True):
            if building and not (build_from_source and any(isinstance(one, NoWheel) for one in self.failures)):
                return
            for (source, wanted), as_of in product(combinations, dates):
                attempt = _Attempt(wanted, as_of, source, build=building)
                yield attempt
                # Before Python 3.12 every environment had setuptools, so packages use it without requiring it.
                if re.search(r"pkg_resources|setuptools|distutils", next(reversed(self.refused.values()), "")):
                    yield replace(attempt, wanted=wanted.also("setuptools<81"), extra="setuptools")

    def hopeless(self) -> Unbuildable:
        source = f" (from {self.requirements.source})" if self.requirements.source else ""
        # The result of building from source is more informative than the lack of a wheel.
        failures = [one for one in self.failures if not isinstance(one, NoWheel)] or self.failures
        messages = list(dict.fromkeys(failure.message for failure in failures))
        hint = self.failures[-1].hint if self.failures else "Pin the versions that it was trained with; log it again."
        if self.refused:
            what = f"the model does not load in any environment from its requirements{source}"
        else:
            what = f"no environment can be built from the requirements{source}"
        told = messages[0] if len(messages) == 1 and not self.refused else f"tried: {'; '.join(self.tried)}"
        return Unbuildable(f"{what}: {told}.", hint=hint)
