"""The verb `serinus predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serinus.cli.session import Session, part
from serinus.core.errors import Forbidden, InvalidInput, NotFound, SerinusError, Unavailable

if TYPE_CHECKING:
    import ssl

Row = Mapping[str, Any]


def predict(
    at: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    row: Annotated[
        str,
        typer.Option(
            "--row", "-r", metavar="JSON|FILE", help="An object, a list of objects, or a file with either; - is stdin."
        ),
    ],
    entity: Annotated[
        str | None,
        typer.Option(
            metavar="ID", show_default=False, help="Entity id (x-entity-id). Requests of one entity go to one release."
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            show_default=False,
            help="Your own id of the request (x-request-id), which is kept with the prediction.",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", envvar="SERINUS_API_KEY", show_default=False, help="API key, where callers need one."
        ),
    ] = None,
) -> None:
    """Send a request to a model through Envoy, with the Open Inference Protocol.

    \b
      serinus predict card-fraud --row '{"amount": 12.5, "country": "DE"}'
      serinus predict card-fraud --row rows.json --entity card-42 --request-id r-1
    """
    headers = {"x-entity-id": entity, "x-request-id": request_id, "x-api-key": api_key}
    body = tensors(_rows(row))
    envoy = at.envoy()
    sent = {k: v for k, v in headers.items() if v is not None}
    answer = _ask(envoy, model, body, sent, at.callers_context(envoy))
    if at.out.as_json:
        at.out.json(answer)
        return
    for output in answer["outputs"]:
        at.out.line(f"{output['name']}: {', '.join(str(value) for value in output['data'])}")
    fallback = ", a fallback" if answer["fallback"] else ""
    at.out.line(
        f"answered by {answer['release'] or 'the proxy'}{fallback}, request {answer['request_id']}, "
        f"prediction {answer['prediction_id']}",
        style="dim",
    )


def _ask(
    envoy: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str], context: ssl.SSLContext | None
) -> Mapping[str, Any]:
    import httpx

    from serinus.cli.trust import refusal
    from serinus.lib.plain_http import NO_TLS

    url = f"{envoy}/v2/models/{part(model)}/infer"
    verify = context or NO_TLS
    try:
        answer = httpx.post(url, json=body, headers=dict(headers), timeout=60, trust_env=False, verify=verify)
    except httpx.HTTPError as error:
        if why := refusal(error):
            raise Unavailable(
                f"{envoy}: {why}", hint="--ca FILE trusts others; SERINUS_CLIENT_CERT and SERINUS_CLIENT_KEY are shown."
            ) from None
        raise Unavailable(f"no model answers at {envoy}", hint="Start Serinus with `serinus up`.") from None
    try:
        said = answer.json()
    except ValueError:
        raise SerinusError(
            f"{envoy} answered {answer.status_code} without JSON", hint="Check that the address is Envoy's."
        ) from None
    if not answer.is_success:
        raise _refusal(answer.status_code, said.get("error", "no reason given"))
    return {
        **said,
        "release": answer.headers.get("x-serinus-release"),
        "request_id": answer.headers.get("x-request-id"),
        "prediction_id": answer.headers.get("x-serinus-prediction-id"),
        "fallback": answer.headers.get("x-serinus-fallback") == "true",
    }


def _refusal(status: int, reason: str) -> SerinusError:
    said = f"{status}: {reason}"
    if status in (400, 413, 415, 422):
        return InvalidInput(said)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(said, hint="`serinus status` lists the models that are served.")
    if status in (401, 403):
        return Forbidden(said, hint="An admin makes an API key: `serinus token create NAME --plane data`.")
    return SerinusError(said, hint="`serinus status` shows why.")


def _rows(given: str) -> Sequence[Row]:
    text = given.strip()
    if not text.startswith(("{", "[")):
        text = sys.stdin.read() if text == "-" else _read(Path(text))
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"--row is not JSON: {error}", hint="For instance: --row '{\"amount\": 12.5}'.") from None
    rows = found if isinstance(found, list) else [found]
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise InvalidInput("--row is one object, or a list of objects with the same names")
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}", hint="Give JSON, or the name of a file with JSON."
        ) from None


def tensors(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Returns the rows as a request of the Open Inference Protocol, with one input for each column."""
    return {"inputs": [_tensor(name, [row[name] for row in rows]) for name in rows[0]]}


def _tensor(name: str, data: list[Any]) -> Mapping[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": _datatype(name, data), "data": data}


def _datatype(name: str, data: Sequence[Any]) -> str:
    """Returns the datatype of the values. Nulls fit every type."""
    kinds = {type(value) for value in data if value is not None}
    if kinds <= {bool} and kinds:
        return "BOOL"
    if kinds <= {int} and kinds:
        return "INT64"
    if kinds <= {int, float}:
        return "FP64"
    if kinds <= {str}:
        return "BYTES"
    raise InvalidInput(
        f"--row: '{name}' is mixes types: its values must be all numbers, all strings, or all true or false"
    )
