"""Reading of batches in format 1, in which each record is a JSON object.

They were validated when they arrived. They are not written any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serinus.predictions.segments.columns import Columns, as_numbers
from serinus.predictions.segments.wire import Hello, mended, read_json, write_json


def parse_format1(body: bytes, hello: Hello) -> Columns:
    """Returns the records of `{"seq", "records": [{..}, ..]}`."""
    records = read_json(body)["records"]
    n = len(records)
    return Columns(
        time=[float(one["t"]) for one in records],
        request_id=[_text(one, "id") for one in records],
        entity=[_text(one, "entity") or None for one in records],
        model=[hello.model] * n,
        release=[hello.release] * n,
        role=[_text(one, "role") for one in records],
        split=[_text(one, "split") for one in records],
        status=[one["status"] for one in records],
        ms=[float(one["ms"]) for one in records],
        rows=[one["rows"] for one in records],
        header=[_json(one.get("columns")) for one in records],
        inputs=[_json(one.get("inputs")) for one in records],
        scores=[as_numbers(one.get("scores")) for one in records],
        answers=[as_numbers(one.get("answers")) for one in records],
        fallback=[one.get("fallback", False) for one in records],
        error=[_text(one, "error") or None for one in records],
        cached=[False] * n,
        by_router=[False] * n,
        prediction_id=[None] * n,
        caller=[None] * n,
        set_aside=[None] * n,
    )


def _text(record: Mapping[str, Any], name: str) -> str:
    return mended(record.get(name) or "")


def _json(value: Any) -> str | None:
    return None if value is None else write_json(value)
