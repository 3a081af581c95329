"""The conversion of frozen values to JSON text and back. The types of the values are the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from serinus.core.events import Event
from serinus.core.redaction import all_without_credentials, may_hold_credentials
from serinus.core.release import Release
from serinus.core.rollout import ModelState, Order, Rollout

T = TypeVar("T")


class Document(Generic[T]):
    """Converts values of one type, with `load(dump(value)) == value`, also for infinite numbers in evidence.

    Credentials in texts are removed, because what is stored is shown. Equal values may have different texts, because
    sets have no order and earlier versions wrote dates differently.
    """

    def __init__(self, kind: type[T], remembered: int = 0) -> None:
        """`remembered` is the number of texts whose values are cached, because they are read more often than they
        change."""
        self._adapter = TypeAdapter(kind)
        self._loaded = lru_cache(maxsize=remembered)(self._load) if remembered else self._load

    def dump(self, value: T) -> str:
        """Returns the value as JSON text."""
        # pydantic's JSON mode writes null for infinite numbers, which the judge must get back unchanged.
        plain = self._adapter.dump_python(value)
        text = _text(plain)
        return _text(all_without_credentials(plain)) if may_hold_credentials(text) else text

    def load(self, text: str) -> T:
        """Returns the value of a JSON text."""
        return self._loaded(text)

    def _load(self, text: str) -> T:
        return self._adapter.validate_python(from_json(text))


def _text(plain: Any) -> str:
    return to_json(plain, inf_nan_mode="constants", fallback=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


ROLLOUT = Document(Rollout)
MODEL_STATE = Document(ModelState, remembered=4096)
RELEASE = Document(Release)
ORDER = Document(Order)
EVENT = Document(Event)


def canonical(value: Any) -> str:
    """Returns the canonical JSON text of a value, for digests: with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
