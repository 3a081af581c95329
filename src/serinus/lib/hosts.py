"""Names of hosts, with and without a port."""

from __future__ import annotations

import re

_PORT = re.compile(r":[0-9]{1,5}$")


def without_port(host: str) -> str:
    """Returns the host of `host` or `host:port`. An IPv6 address with a port is in brackets, which stay."""
    bare_address = host.count(":") > 1 and not host.startswith("[")
    return host if bare_address else _PORT.sub("", host)
