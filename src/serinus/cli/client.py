"""HTTP to the API: JSON in, JSON out, errors as the errors they are."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from serinus.cli.local import LocalTransport
from serinus.cli.trust import refusal, trusting
from serinus.core.errors import Forbidden, InvalidInput, NotFound, Refused, SerinusError, Unavailable
from serinus.core.home import Home

_ERRORS: Mapping[int, type[SerinusError]] = {
    HTTPStatus.UNAUTHORIZED: Forbidden,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Refused,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidInput,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}
SECONDS = 60.0
"""For an answer."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """`base`: `https://host:port`, or `http`. Every method raises what the API answers, or Unavailable where nothing
    does."""

    def __init__(
        self, base: str, token: str, home: Home | None = None, *, scheme: str = "Bearer", ca: Path | None = None
    ) -> None:
        """`home`: asked over its socket; `base` is then only what the request calls the server. `scheme`: of what is
        shown, a `Bearer` token or the secret of a `Home`. `ca`: the only authorities to trust. Raises InvalidInput."""
        self.base = base.rstrip("/")
        host = urlsplit(self.base)
        if host.scheme not in ("http", "https") or not host.hostname:
            raise InvalidInput(f"{base} is not the address of a server", hint="Write it as https://HOST:PORT.")
        headers = {"Authorization": f"{scheme} {token}"} if token else {}
        transport = LocalTransport(home.api_socket) if home else None
        self._silent = f"Serinus is not running in {home.path}" if home else f"Serinus does not answer at {self.base}"
        # A proxy for the world outside has no business with this machine's own addresses.
        outside = host.hostname not in _LOOPBACK
        verify = trusting(ca) if host.scheme == "https" and home is None else True
        self._http = httpx.Client(
            base_url=self.base, headers=headers, timeout=SECONDS, trust_env=outside, transport=transport, verify=verify
        )

    def get(self, path: str, **query: Any) -> Any:
        return self._ask("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any, *, seconds: float = SECONDS) -> Any:
        """`seconds`: how long an answer is waited for."""
        return self._ask("POST", path, json=body, timeout=seconds)

    def put(self, path: str, body: Any) -> Any:
        return self._ask("PUT", path, json=body)

    def put_text(self, path: str, body: str) -> Any:
        """`body`: JSON text."""
        return self._ask("PUT", path, content=body, headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = self._http.request(method, path, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if why := refusal(error):
                raise Unavailable(
                    f"{self.base}: {why}", hint="Name the authorities of its certificate: --ca FILE."
                ) from None
            raise Unavailable(self._silent, hint="Start it with `serinus up`.") from None
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self.base} did not answer: {type(error).__name__}", hint="See logs/control.log in its home."
            ) from None
        if answer.is_success:
            return answer.json()
        raise _error(answer)


def _error(answer: httpx.Response) -> SerinusError:
    kind = _ERRORS.get(answer.status_code, SerinusError)
    try:
        said = answer.json()
        return kind(said["error"], hint=said.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return kind(
            f"{answer.request.url.host} answered {answer.status_code} and may not be a Serinus server",
            hint="Check --server.",
        )
