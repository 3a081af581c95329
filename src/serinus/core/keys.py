"""Keys that are derived from the home's secret, each for one purpose, and for one release where it is a release's."""

from __future__ import annotations

import hashlib
import hmac


def log_token(secret: str, release: str) -> str:
    """By which the host tells the collector that a connection carries the records of `release`. `secret`: the content
    of `Home.secret`."""
    return _derived(secret, f"log:{release}")


ROUTER_HEADER = "x-serinus-router"
"""Of requests to a release: its router key. A release answers nobody who does not show it."""


def router_key(secret: str, release: str) -> str:
    """The key by which a release knows that a request comes from the router or the control plane, and believes its
    other `x-serinus-` headers. `secret`: the content of `Home.secret`."""
    return _derived(secret, f"router:{release}")


def session_key(secret: str) -> bytes:
    """The key with which the API signs the sessions of the page. `secret`: the content of `Home.secret`."""
    return bytes.fromhex(_derived(secret, "session"))


def _derived(secret: str, purpose: str) -> str:
    return hmac.new(secret.strip().encode(), purpose.encode(), hashlib.sha256).hexdigest()
