"""The section `serving`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from serinus.spec.hours import Warm
from serinus.spec.quantities import Duration, Kind, Size, format_duration, wrong
from serinus.spec.section import Section, conflict, or_word, or_words


class Fallback(Section):
    score: float = Field(description="The score that callers get in place of the model's.")


class Cache(Section):
    size: Size = Field(
        default=16 * 2**20,
        ge=2**16,
        description="Memory for the answers that one worker keeps. Beyond it the least recently used answers are "
        "removed.",
    )
    ttl: Duration = Field(
        default=timedelta(minutes=1), gt=timedelta(0), description="How long an answer is kept at most."
    )


class Batch(Section):
    delay: Duration = Field(
        default=timedelta(milliseconds=2),
        gt=timedelta(0),
        description="How long a request waits at most for other requests to be predicted with it.",
    )
    rows: int = Field(default=64, ge=2, le=65_536, description="Maximum number of rows that are predicted together.")


Protocol = Literal["open-inference", "invocations"]
PROTOCOLS: tuple[Protocol, ...] = ("open-inference", "invocations")
NO_SCORE = "none"
_SOME_PROTOCOL = Kind("protocols", f"at least one of {', '.join(PROTOCOLS)}")


def _each_once(value: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """Returns the protocols sorted and without duplicates, so that their order in the file does not make another
    release."""
    if not value:
        raise wrong(_SOME_PROTOCOL)
    return tuple(protocol for protocol in PROTOCOLS if protocol in value)


Protocols = Annotated[tuple[Protocol, ...], AfterValidator(_each_once)]


class Serving(Section):
    """How a release answers. Its scale (`workers`, `warm`, `memory`, `cpu`, `cache.size`) changes without a canary."""

    timeout: Duration = Field(
        default=timedelta(milliseconds=250),
        gt=timedelta(0),
        description="How long a caller waits at most, including time in the queue. After it the caller gets the "
        "fallback.",
    )
    fallback: Annotated[Fallback | None, *or_word("error", "{score: NUMBER}")] = Field(
        default=None,
        description="What callers get when the model fails or does not answer in time: `error` (HTTP 5xx), or "
        "`{score: 0.0}`, which is marked as a fallback in the answer and in the prediction log.",
    )
    max_body: Size = Field(
        default=2**20, description="Maximum size of a request's body. A larger request gets HTTP 413."
    )
    score: str | None = Field(
        default=None,
        min_length=1,
        description="Where the score is in the answer: the name of an output, of a column of the output, or of a "
        "key of the answer's objects. It must be a number, true or false. null: the last column of the first "
        "output, which is the positive class of a binary classifier. `none`: the model answers no score; alerts "
        "are not judged and quality is not compared.",
    )
    protocols: Protocols = Field(
        default=PROTOCOLS,
        description="The protocols by which callers may ask for predictions: `open-inference` (REST, binary and "
        "gRPC) and `invocations` (MLflow's scoring protocol). A model whose answers do not fit into tensors, such "
        "as a dictionary for each row, is served with `[invocations]`.",
    )
    memory: Size | None = Field(
        default=None,
        description="Hard limit of a worker's memory. A worker that exceeds it is stopped and started again. null: "
        "no limit.",
    )
    cpu: float | None = Field(
        default=None,
        ge=0.1,
        le=1_024,
        description="Number of processors that a worker and all processes that it starts may use, such as 0.5. The "
        "limit is enforced where systemd has delegated a control group (`systemd-run --user --scope -p "
        "Delegate=yes serinus up`); elsewhere `serinus status MODEL` says that it is not enforced. null: no limit.",
    )
    compile: Literal["auto", "off"] = Field(
        default="auto",
        description="`auto`: the model and its preprocessing are compiled to one ONNX graph and served as that, "
        "where the graph is proven to decide as the model does. `off`: the model is served by its own libraries.",
    )
    cache: Annotated[Cache | None, *or_words({"off": None, "on": Cache()}, "{size: SIZE, ttl: DURATION}")] = Field(
        default=None,
        description="The response cache: rows that the same release was asked for before are answered without "
        "predicting them again. `on`: with the defaults of `size` and `ttl`. Use it only for a model whose answer "
        "depends on nothing but its inputs: not on the time, not on data that it looks up, not on chance.",
    )
    batch: Annotated[Batch | None, *or_word("off", "{delay: DURATION, rows: NUMBER}")] = Field(
        default=None,
        description="Adaptive batching: rows of concurrent requests are predicted together. It helps only under "
        "load, and only a model that takes little longer for many rows than for one.",
    )
    rows: Literal["each", "together"] = Field(
        default="each",
        description="`each`: the answer to a row depends on that row alone, which is checked at the gates. "
        "`together`: the rows of a request are one question, such as a window over the last payments of a card, "
        "and the answer may have another number of rows. Such requests are never split, batched, cached, compiled "
        "or asked in part.",
    )
    max_waiting: int = Field(
        default=256,
        ge=1,
        le=65_536,
        description="How many requests may wait in one worker. A further request gets HTTP 503 with Retry-After at "
        "once.",
    )
    workers: Annotated[
        Annotated[int, Field(ge=1, le=1_024)] | None, *or_words({"auto": None}, "a number", also=(int,))
    ] = Field(
        default=None,
        description="Maximum number of workers. The autoscaler adds and removes workers with the load. `auto`: the "
        "number of processors of the machine.",
    )
    warm: Warm = Field(
        default=(),
        description="When the release is not scaled to zero. `true`: never, however long it gets no requests and "
        "however scarce memory is. Hours, such as `[{from: 07:30, to: 22:00, days: [mon, fri], timezone: "
        "Europe/Berlin}]`: not within these hours, and it is activated a minute before they begin. `false`: no "
        "exception is made.",
    )
    unlogged: Literal["answer", "refuse"] = Field(
        default="answer",
        description="What happens to a request when the prediction log has no room for its record: `answer` (the "
        "lost record is counted and reported), or `refuse` with HTTP 503, for models of which every answer must be "
        "on record.",
    )

    @model_validator(mode="after")
    def _witnessed(self) -> Serving:
        """Refuses a cache without scores, because the scores show whether a model answers equal rows differently."""
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
