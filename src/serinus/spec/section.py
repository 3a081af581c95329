"""The base of all sections of the schema. Unknown fields are errors, and a word may stand for a whole section."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serinus.spec.quantities import Kind, wrong


class Section(BaseModel):
    """A section of the schema."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """Takes a key without a value as a section of defaults. YAML reads it as null."""
        return {} if value is None else value


def conflict(at: str, expected: str, got: str | float) -> PydanticCustomError:
    """Returns the error for a valid value that contradicts another one. `at` is its path within the section."""
    context = {"at": at, "expected": expected, "meant": None, "got": got}
    return PydanticCustomError("conflict", "expected {expected}", context)


def or_words(words: Mapping[str, Any], otherwise: str, *, also: tuple[type, ...] = ()) -> tuple[Any, ...]:
    """Returns annotations for a value that is written as one of `words`, as a mapping, or as one of the types `also`.

    null is refused, because the word is clearer.
    """
    kind = Kind(" or ".join([*(f"`{word}`" for word in words), otherwise]), " or ".join([*map(repr, words), otherwise]))
    nothing = next(word for word, value in words.items() if value is None)

    def read(value: object) -> object:
        """Replaces a word by its value."""
        if isinstance(value, (Mapping, Section, *also)) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value in words:
            return words[value]
        if value is None or value is False:
            raise wrong(kind, nothing)
        if value is True:
            raise wrong(kind, "on" if "on" in words else nothing)
        near = difflib.get_close_matches(str(value), [*words, "no", "none"], n=1)
        raise wrong(kind, (near[0] if near[0] in words else nothing) if near else None)

    def write(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
        """Replaces a value by its word."""
        return next((word for word, meaning in words.items() if meaning == value), None) or handler(value)

    return BeforeValidator(read), WrapSerializer(write), kind


def or_word(word: str, otherwise: str) -> tuple[Any, ...]:
    """Returns annotations for `X | None`, where None is written as `word`."""
    return or_words({word: None}, otherwise)
