"""Requests to one registry: authorized, tried again where that may help, and refusals in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import httpx

from serinus.lib.backoff import Backoff
from serinus.targets.kubernetes.images.references import address
from serinus.targets.kubernetes.images.registry import words
from serinus.targets.kubernetes.images.registry.credentials import Credentials
from serinus.targets.kubernetes.images.registry.tokens import Authorization

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_TRIES = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_LONGEST_WISH = 30.0
"""Seconds that a registry may ask us to wait; where it asks for more, whoever builds comes again later."""

Body = Callable[[], bytes | Iterable[bytes]]
"""Called anew for each try."""


class Connection:
    """To `registry`. `plain`: registries that are asked without TLS, beside those on this machine."""

    def __init__(
        self,
        registry: str,
        credentials: Credentials,
        *,
        plain: Collection[str] = (),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.registry = registry
        self.url = f"{address(registry, plain)}/v2"
        # What is addressed by its digest is taken as it is.
        self._client = httpx.Client(timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
        self._authorization = Authorization(registry, credentials, self._client)
        self._pause = pause

    def close(self) -> None:
        self._client.close()

    def request(
        self,
        method: str,
        url: str | httpx.URL,
        repository: str,
        *,
        also: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accepted: Collection[int] = (),
        again: bool = True,
    ) -> httpx.Response:
        """The answer, read, where it is a success or its status is in `accepted`.

        `also`: another repository, which is read from. `again`: whether to try again what fails for a while. Raises
        Unavailable.
        """
        with self.stream(
            method, url, repository, also=also, headers=headers, body=body, accepted=accepted, again=again
        ) as answer:
            self._read(answer)
            return answer

    @contextmanager
    def stream(
        self,
        method: str,
        url: str | httpx.URL,
        repository: str,
        *,
        also: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accepted: Collection[int] = (),
        again: bool = True,
    ) -> Iterator[httpx.Response]:
        """As `request`, but the answer is not read yet."""
        backoff, tries = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), _TRIES if again else 1
        while True:
            tries -= 1
            try:
                answer = self._authorized(method, httpx.URL(url), repository, also, dict(headers or {}), body)
            except httpx.HTTPError as error:
                if not tries:
                    raise words.away(self.registry, error) from error
                self._pause(backoff.pause())
                continue
            with _closing(answer):
                if answer.is_success or answer.status_code in accepted:
                    yield answer
                    return
                self._read(answer)
                wait = max(_wish(answer), backoff.pause())
                if (
                    not tries
                    or answer.status_code not in words.PASSING
                    or wait > _LONGEST_WISH
                    or words.is_full(answer)
                ):
                    raise words.refused(self.registry, repository, answer)
            self._pause(wait)

    def _authorized(
        self,
        method: str,
        url: httpx.URL,
        repository: str,
        also: str,
        headers: dict[str, str],
        body: Body | None,
    ) -> httpx.Response:
        """Credentials are for the registry itself: uploads and downloads may be sent to a store elsewhere."""
        access = f"{repository} {also}"
        own = _origin(url) == _origin(httpx.URL(self.url))
        header = self._authorization.header(access) if own else None
        answer = self._send(method, url, headers, header, body)
        if answer.status_code == 401 and own:
            with _closing(answer):
                header = self._authorization.answer(access, answer)
                if header is None:
                    self._read(answer)
                    return answer
            answer = self._send(method, url, headers, header, body)
        return answer

    def _send(
        self, method: str, url: httpx.URL, headers: dict[str, str], authorization: str | None, body: Body | None
    ) -> httpx.Response:
        given = {"Authorization": authorization} if authorization else {}
        request = self._client.build_request(method, url, headers=headers | given, content=body() if body else None)
        # Reads may lead to a store elsewhere; httpx leaves the authorization out there.
        return self._client.send(request, stream=True, follow_redirects=method in ("GET", "HEAD"))

    def _read(self, answer: httpx.Response) -> None:
        try:
            answer.read()
        except httpx.HTTPError as error:
            raise words.away(self.registry, error) from error


@contextmanager
def _closing(answer: httpx.Response) -> Iterator[None]:
    try:
        yield
    finally:
        answer.close()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _wish(answer: httpx.Response) -> float:
    """Seconds that the registry asks us to wait."""
    try:
        return max(float(answer.headers.get("retry-after", "0")), 0.0)
    except ValueError:
        return 0.0
