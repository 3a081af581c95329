"""What all models have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from serinus.core.text import one_line


class Answer(BaseModel):
    """What the API answers. Whoever reads it passes over fields that they do not know, which a later version adds."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class Request(BaseModel):
    """What the API takes. A field that it does not know is refused: it may be a name that was written wrong."""

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
    """What was done, or ordered, in words."""

    message: str


class Done(Answer):
    ok: bool


class Failure(Answer):
    """Every answer with a status of 400 or more."""

    error: str
    """What is wrong, in a sentence."""
    hint: str
    """What to do next; may be empty."""
