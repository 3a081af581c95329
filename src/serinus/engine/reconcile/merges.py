"""Changes that people bring into the fleet repository are orders."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

from serinus.core.errors import Refused, SerinusError, TemporaryError
from serinus.core.events import Event
from serinus.core.merged import Merged, MergedFile
from serinus.engine.policies import digest_of
from serinus.engine.reconcile.outside import Outside, Pending
from serinus.engine.world import World

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=5)
"""The time after which the fleet repository is read again."""
_SEEN = "merges-seen"
"""The setting with the position up to which changes were carried out."""
_REFUSED = "merge-refused."

TakeMerged = Callable[[Merged], None]
"""Carries out a change, once or again."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    words: str
    digest: str
    """The digest of the spec."""


class Merges:
    """Reads what people have changed. `take` None: nothing is carried out.

    What was in the repository when Serinus first saw it is no order.
    """

    def __init__(self, world: World, outside: Outside, take: TakeMerged | None) -> None:
        self._world = world
        self._outside = outside
        self._take = take
        self._read: datetime | None = None
        self._failed: tuple[str, ...] = ()
        found = world.store.settings(_REFUSED)
        self._refused = {
            key.removeprefix(_REFUSED): _Refusal(**json.loads(text)) for key, text in found.items() if text
        }

    @property
    def trouble(self) -> Sequence[str]:
        """Why changes are not carried out: those that have to be corrected, and what will be tried again."""
        return [*self._failed, *(one.words for one in self._refused.values())]

    def read(self) -> None:
        """Carries out what people have changed since the last time. Nothing where that was a short time ago. What
        fails is in `trouble`, and stops no rollout."""
        if self._read is None or self._world.clock.now() - self._read >= EVERY:
            with suppress(Pending):
                self.read_at_once()

    def read_at_once(self) -> bool:
        """The same, however short ago it was. Returns whether nothing is left to be carried out. Raises Pending."""
        if self._take is None:
            return True
        self._read = None
        try:
            self._outside.answer("merges", "", partial(self._carry_out_new, self._take), "merges")
        except Pending:
            raise
        except SerinusError as error:
            self._failed = (str(error),)
        except Exception:
            log.exception("reading what people have merged failed")
            self._failed = ("reading what people have merged failed; see logs/control.log",)
        else:
            self._failed = ()
        self._read = self._world.clock.now()
        return not self._failed

    def _carry_out_new(self, take: TakeMerged) -> None:
        seen = self._world.store.setting(_SEEN)
        head, merged = self._world.fleet.merged(seen)
        if head == seen:
            return
        for one in merged:
            # The order comes first. One that was only stored as seen would be lost in a crash.
            self._carry_out(take, one)
        self._forget_corrected()
        self._world.store.set_setting(_SEEN, head)

    def _carry_out(self, take: TakeMerged, one: Merged) -> None:
        try:
            take(one)
        except TemporaryError:
            raise
        except SerinusError as error:
            self._refuse(one, str(error))
        except Exception as error:
            log.exception("the change of %s in %s failed", one.path, one.commit)
            self._refuse(one, f"an error, {type(error).__name__}; see logs/control.log.")
        else:
            self._keep(one.model, None)

    def _refuse(self, one: Merged, why: str) -> None:
        words = f"{one.path}, which {one.author.shown} changed in {one.commit[:10]}, is not carried out: {why}"
        if one.kind is MergedFile.SPEC:  # What is live is written again.
            self._keep(one.model, _Refusal(words, digest_of(one.text or "")))
        self._world.store.emit([Event(self._world.clock.now(), one.model, None, "merge-refused", words)])

    def _keep(self, model: str, refusal: _Refusal | None) -> None:
        others = {name: one for name, one in self._refused.items() if name != model}
        if refusal is None and len(others) == len(self._refused):
            return
        # Another thread may be reading it.
        self._refused = {**others, model: refusal} if refusal else others
        self._world.store.set_setting(_REFUSED + model, json.dumps(asdict(refusal)) if refusal else "")

    def _forget_corrected(self) -> None:
        """Also a deployment with another spec corrects it."""
        for model, refusal in list(self._refused.items()):
            if self._digest(model) != refusal.digest:
                self._keep(model, None)

    def _digest(self, model: str) -> str:
        try:
            return digest_of(self._world.fleet.read(model) or "")
        except Refused:  # It cannot be read, as `Merged.unreadable` says.
            return digest_of("")
