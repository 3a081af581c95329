"""Warnings about a valid deployment whose values contradict each other. Such a deployment is not refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serinus.spec.document import Path, Problem, dotted, read
from serinus.spec.quantities import format_duration
from serinus.spec.schema import ModelDeployment


class Lines:
    """The lines at which the fields of one spec stand. `source` is the name of its file."""

    def __init__(self, text: str, source: str) -> None:
        self._document = read(text)
        self._source = source

    def say(self, path: Path, text: str) -> str:
        """Returns a line such as `card-fraud.yaml:12: watch.slow.over: TEXT`.

        For a default, the line number is that of the section around it.
        """
        return Problem(self._document.line_of(path), dotted(path), text).render(self._source)


def contradictions(spec: ModelDeployment, lines: Lines) -> Sequence[str]:
    """Returns a warning for each contradiction, in the order of the sections."""
    return [lines.say(path, text) for path, text in _found(spec)]


def _found(spec: ModelDeployment) -> Iterator[tuple[Path, str]]:
    timeout = spec.serving.timeout
    if spec.gates.latency_p99 > timeout:
        yield (
            ("gates", "latency_p99"),
            f"{format_duration(spec.gates.latency_p99)} is longer than serving.timeout, {format_duration(timeout)}: a "
            "version can pass the gate and still answer too late",
        )
    over = spec.watch.slow.over
    if over is not None and over >= timeout:
        yield (
            ("watch", "slow", "over"),
            f"{format_duration(over)} is not shorter than serving.timeout, {format_duration(timeout)}: only timeouts "
            "are slow then, and they are errors already",
        )
    for name in ("errors", "slow", "fallbacks", "missing", "alerts"):
        ratio = getattr(spec.watch, name)
        if ratio is not None and ratio.ok < 1:
            yield (
                ("watch", name, "ok"),
                f"{ratio.ok:g} is less than 1: a release that is exactly as good as the champion would be aborted",
            )
