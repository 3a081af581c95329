"""The section `serving`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from serinus.spec.hours import Warm
from serinus.spec.quantities import Duration, Kind, Size, format_duration, wrong
from serinus.spec.section import Section, conflict, or_word, or_words


class Fallback(Section):
    score: float = Field(description="The score that is answered in place of the model's.")


class Cache(Section):
    size: Size = Field(
        default=16 * 2**20,
        ge=2**16,
        description="Memory that the answers of one worker may take; the least recently used go first.",
    )
    ttl: Duration = Field(
        default=timedelta(minutes=1), gt=timedelta(0), description="How long an answer is given again at most."
    )


class Batch(Section):
    delay: Duration = Field(
        default=timedelta(milliseconds=2),
        gt=timedelta(0),
        description="How long a request waits at most for others that come meanwhile.",
    )
    rows: int = Field(default=64, ge=2, le=65_536, description="Most rows that are predicted together.")


Protocol = Literal["open-inference", "invocations"]
PROTOCOLS: tuple[Protocol, ...] = ("open-inference", "invocations")
NO_SCORE = "none"
_SOME_PROTOCOL = Kind("protocols", f"at least one of {', '.join(PROTOCOLS)}")


def _each_once(value: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """In one order, so that the order in which they are written makes no other release."""
    if not value:
        raise wrong(_SOME_PROTOCOL)
    return tuple(protocol for protocol in PROTOCOLS if protocol in value)


Protocols = Annotated[tuple[Protocol, ...], AfterValidator(_each_once)]


class Serving(Section):
    """How a release answers. A change of it makes another release."""

    timeout: Duration = Field(
        default=timedelta(milliseconds=250),
        gt=timedelta(0),
        description="How long a caller waits at most, queueing included; then the fallback answers.",
    )
    fallback: Annotated[Fallback | None, *or_word("error", "{score: NUMBER}")] = Field(
        default=None,
        description="What callers get when the model fails or is too slow: `error` (HTTP 5xx), or `{score: 0.0}`, "
        "which is marked as a fallback in the answer and in the prediction log.",
    )
    max_body: Size = Field(default=2**20, description="A longer request is refused with 413.")
    score: str | None = Field(
        default=None,
        min_length=1,
        description="The output, the column of the output or the key of the answer's objects that is the score: a "
        "number, true or false. null: the last column of the first output, which is the positive class of a binary "
        "classifier. `none`: the model answers no score; alerts are not judged and quality is not compared.",
    )
    protocols: Protocols = Field(
        default=PROTOCOLS,
        description="By which callers may ask for predictions: `open-inference` (REST, binary and gRPC) and "
        "`invocations` (MLflow's scoring protocol). A model whose answers tensors cannot carry, such as a dictionary "
        "for each row, is served with `[invocations]`.",
    )
    memory: Size | None = Field(
        default=None,
        description="Hard limit of a worker's memory; past it the worker is stopped and started again. null: none.",
    )
    cpu: float | None = Field(
        default=None,
        ge=0.1,
        le=1_024,
        description="Processors that a worker may use, such as 0.5, with all that it starts. Kept where systemd has "
        "delegated a control group (`systemd-run --user --scope -p Delegate=yes serinus up`); else "
        "`serinus status MODEL` says that it is not. null: no limit.",
    )
    compile: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: the model and its preprocessing are turned into one ONNX graph and served as that, "
        "where it is proven to decide as the model does. `off`: served by the model's own libraries.",
    )
    cache: Annotated[Cache | None, *or_words({"off": None, "on": Cache()}, "{size: SIZE, ttl: DURATION}")] = Field(
        default=None,
        description="Whether rows that the same release was asked for before are answered without predicting again. "
        "`on`: with the defaults of `size` and `ttl`. Only for a model that has nothing but its inputs to go by: no "
        "clock, no store that it looks things up in, no chance.",
    )
    batch: Annotated[Batch | None, *or_word("off", "{delay: DURATION, rows: NUMBER}")] = Field(
        default=None,
        description="Whether concurrent requests are gathered and predicted together. Pays for a model that takes "
        "little longer for many rows than for one, and under load only.",
    )
    rows: Literal["each", "together"] = Field(
        default="each",
        description="`each`: a row's answer depends on that row alone, which is checked at the gates. `together`: the "
        "rows of a request are one question, such as a window over a card's last payments, and may have another number "
        "of answers than rows. They are never split, batched, cached, compiled or asked in part.",
    )
    max_waiting: int = Field(
        default=256,
        ge=1,
        le=65_536,
        description="How many requests may wait in one worker; a further one is answered 503 with Retry-After at once.",
    )
    workers: Annotated[
        Annotated[int, Field(ge=1, le=1_024)] | None, *or_words({"auto": None}, "a number", also=(int,))
    ] = Field(
        default=None,
        description="Most processes that answer at the same time; they come and go with the load. `auto`: as many as "
        "the machine has processors.",
    )
    warm: Warm = Field(
        default=(),
        description="`true`: never put to sleep, however long nobody asks and however scarce memory is. Hours, such as "
        "`[{from: 07:30, to: 22:00, days: [mon, fri], timezone: Europe/Berlin}]`: so within them, and woken a minute "
        "before they begin; at other times it sleeps like any other.",
    )
    unlogged: Literal["answer", "refuse"] = Field(
        default="answer",
        description="What becomes of a request whose record the prediction log has no room for: `answer` (the loss is "
        "counted and told), or `refuse` with 503, for models of which every answer must be on record.",
    )

    @model_validator(mode="after")
    def _witnessed(self) -> Serving:
        """By its scores it is noticed that a model answers equal rows otherwise than before."""
        if self.score == NO_SCORE and self.cache:
            raise conflict("cache", "'off' where score is 'none'", "on")
        return self

    @model_validator(mode="after")
    def _in_time(self) -> Serving:
        if self.rows == "together":
            for name in ("cache", "batch"):
                if getattr(self, name) is not None:
                    raise conflict(name, "'off' where rows is 'together'", "on" if name == "cache" else "a batch")
        if self.batch and self.batch.delay >= self.timeout:
            raise conflict("batch.delay", "less than 'timeout'", format_duration(self.batch.delay))
        return self
