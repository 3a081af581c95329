"""The base classes of all resources."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from serinus.core.text import one_line


class Answer(BaseModel):
    """An answer of the API. Clients must ignore unknown fields, because later versions add fields."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class Request(BaseModel):
    """A request to the API. Unknown fields are refused, because they may be misspelled names."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Moment = Annotated[
    datetime,
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""ISO 8601 with an offset: `2026-03-02T09:30:00+00:00`."""


Why = Annotated[str, Field(max_length=2000, description="Why; kept in the audit record."), AfterValidator(one_line)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
ShortText = Annotated[str, Field(max_length=200)]
SpecText = Annotated[str, Field(max_length=200_000, description="A ModelDeployment as YAML text.")]
SpecName = Annotated[
    str,
    Field(min_length=1, max_length=4096, description="What errors call the spec: the name of its file."),
]


class Message(Answer):
    """What was done or ordered, in words."""

    message: str


class Done(Answer):
    """Whether the request succeeded."""

    ok: bool


class Failure(Answer):
    """The answer with every status of 400 or more."""

    error: str
    """What is wrong, in a sentence."""
    hint: str
    """What to do next. May be empty."""
