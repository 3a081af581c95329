"""The HTTP client of the API. Requests and answers are JSON, and errors become exceptions."""

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
from serinus.lib.plain_http import NO_TLS

_ERRORS: Mapping[int, type[SerinusError]] = {
    HTTPStatus.UNAUTHORIZED: Forbidden,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Refused,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidInput,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}
SECONDS = 60.0
"""The time limit of an answer."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """`base` is `https://host:port` or `http://host:port`. Every method raises the error that the API answers, or
    Unavailable."""

    def __init__(
        self, base: str, token: str, home: Home | None = None, *, scheme: str = "Bearer", ca: Path | None = None
    ) -> None:
        """- `home`: its socket is used. `base` is then only the name of the server in requests.
        - `scheme`: `Bearer` for a token, or `Home` for the home's secret.
        - `ca`: the only certificate authorities to trust.

        Raises InvalidInput.
        """
        self.base = base.rstrip("/")
        host = urlsplit(self.base)
        if host.scheme not in ("http", "https") or not host.hostname:
            raise InvalidInput(f"{base} is not the address of a server", hint="Write it as https://HOST:PORT.")
        headers = {"Authorization": f"{scheme} {token}"} if token else {}
        transport = LocalTransport(home.api_socket) if home else None
        self._silent = f"Serinus is not running in {home.path}" if home else f"Serinus does not answer at {self.base}"
        # A proxy must not be used for addresses of this machine.
        outside = host.hostname not in _LOOPBACK
        verify = trusting(ca) if host.scheme == "https" and home is None else NO_TLS
        self._http = httpx.Client(
            base_url=self.base, headers=headers, timeout=SECONDS, trust_env=outside, transport=transport, verify=verify
        )

    def get(self, path: str, **query: Any) -> Any:
        """Sends a GET and returns the answer."""
        return self._ask("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any, *, seconds: float = SECONDS) -> Any:
        """Sends a POST and returns the answer. `seconds` is the time limit of the answer."""
        return self._ask("POST", path, json=body, timeout=seconds)

    def put(self, path: str, body: Any) -> Any:
        """Sends a PUT and returns the answer."""
        return self._ask("PUT", path, json=body)

    def put_text(self, path: str, body: str) -> Any:
        """Sends a PUT with JSON text and returns the answer."""
        return self._ask("PUT", path, content=body, headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Any:
        """Sends a DELETE and returns the answer."""
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
