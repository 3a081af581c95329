"""Authorization at a registry: by name and password, or by a token that its authorization server gives."""

from __future__ import annotations

import base64
import math
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from serinus.core.errors import Unavailable
from serinus.targets.kubernetes.images.registry import words
from serinus.targets.kubernetes.images.registry.credentials import Credentials, Login

_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_LEAST_SECONDS = 60.0
"""For which a token is good where its server does not say, as the specification has it."""
_EARLY_SECONDS = 10.0
_CLIENT = "serinus"


@dataclass(slots=True)
class _Token:
    header: str = field(repr=False)
    until: float


class Authorization:
    """Headers for the requests to one registry, kept by what they give access to."""

    def __init__(self, registry: str, credentials: Credentials, client: httpx.Client) -> None:
        self._registry = registry
        self._credentials = credentials
        self._client = client
        self._known: dict[str, _Token] = {}

    def header(self, access: str) -> str | None:
        """What was good for the same `access` before."""
        known = self._known.get(access)
        return known.header if known and time.monotonic() < known.until else None

    def answer(self, access: str, challenge: httpx.Response) -> str | None:
        """The header with which a request that got `challenge`, a 401, is to be sent again; None: there are no
        credentials. Raises Unavailable."""
        self._known.pop(access, None)
        schemes = {one.partition(" ")[0].lower(): one for one in challenge.headers.get_list("www-authenticate")}
        login = self._credentials.of(self._registry)
        if "bearer" in schemes:
            token = self._token(dict(_PARAMETER.findall(schemes["bearer"])), login, challenge.request.url.scheme)
        elif "basic" in schemes and login is not None and not login.identity:
            token = _Token(_basic(login), math.inf)
        else:
            return None
        self._known[access] = token
        return token.header

    def _token(self, parameters: dict[str, str], login: Login | None, scheme: str) -> _Token:
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("https", scheme):
            raise Unavailable(
                f"The registry {self._registry} names no authorization server that can be asked over TLS.",
                hint="Correct the realm in its configuration.",
                delay=60,
            )
        asked = {"service": parameters.get("service", ""), "scope": parameters.get("scope", "")}
        try:
            if login is not None and login.identity:
                form = asked | {"grant_type": "refresh_token", "refresh_token": login.secret, "client_id": _CLIENT}
                answer = self._client.post(realm, data=form)
            else:
                # A scope for each repository, as a mount needs two.
                query = {"service": asked["service"], "scope": asked["scope"].split()}
                auth = httpx.BasicAuth(login.username, login.secret) if login else None
                answer = self._client.get(realm, params=query, auth=auth)
        except httpx.HTTPError as error:
            raise words.away(f"{self._registry}'s authorization server", error) from error
        if not answer.is_success:
            raise words.refused(self._registry, "", answer)
        try:
            told = answer.json()
            token = told.get("token") or told["access_token"]
            seconds = float(told.get("expires_in") or _LEAST_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise words.away(f"{self._registry}'s authorization server", error) from error
        return _Token(f"Bearer {token}", time.monotonic() + max(seconds, _LEAST_SECONDS) - _EARLY_SECONDS)


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(f'{login.username}:{login.secret}'.encode()).decode()}"
