"""The same rows, as each kind of server takes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.data import COLUMNS

Row = Sequence[Any]


@dataclass(frozen=True)
class Protocol:
    """How a row is asked for: the path and the body of a POST."""

    path: str
    body: Callable[[Row], Any]
    headers: dict[str, str] = field(default_factory=dict)
    entities: bool = False
    """Whether each row says whose it is, as a sticky split wants it."""

    def headers_of(self, index: int) -> dict[str, str]:
        """Of the row of that index, beside the type of its content."""
        return {**self.headers, **({"x-entity-id": f"card-{index}"} if self.entities else {})}

    def bodies(self, rows: Sequence[Row]) -> list[bytes]:
        return [json.dumps(self.body(row), separators=(",", ":")).encode() for row in rows]

    def raw(self, rows: Sequence[Row], host: str = "127.0.0.1") -> list[bytes]:
        """Whole HTTP/1.1 requests."""
        found = []
        for index, body in enumerate(self.bodies(rows)):
            lines = [f"POST {self.path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
            lines += [f"{name}: {value}" for name, value in self.headers_of(index).items()]
            lines.append(f"Content-Length: {len(body)}")
            found.append("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return found


def split(path: str) -> Protocol:
    """MLflow's scoring protocol, `dataframe_split`."""
    return Protocol(path, lambda row: {"dataframe_split": {"columns": COLUMNS, "data": [row]}})


def infer(path: str) -> Protocol:
    """The Open Inference Protocol, one tensor."""

    def body(row: Row) -> Any:
        tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}
        return {"inputs": [tensor]}

    return Protocol(path, body)


def instances(path: str) -> Protocol:
    """KServe's first protocol, and most of what is written by hand."""
    return Protocol(path, lambda row: {"instances": [row]})
