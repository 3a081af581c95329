"""The conversion of endpoints to Envoy's addresses and back. An endpoint is the path of a Unix socket, or
`host:port`."""

from __future__ import annotations

import ipaddress
import re

from serinus.backends.envoy.names import Json

_LONGEST_PATH = 107
"""In bytes. sockaddr_un holds 108, including a zero at the end."""
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)):(?P<port>\d{1,5})"
)


def address_of(endpoint: str) -> Json:
    """Returns a `config.core.v3.Address`. Raises ValueError, which says what an endpoint may be."""
    if endpoint.startswith("/"):
        if len(endpoint.encode()) > _LONGEST_PATH:
            raise ValueError(f"a Unix socket's path has at most {_LONGEST_PATH} bytes")
        return {"pipe": {"path": endpoint}}
    found = _HOST_AND_PORT.fullmatch(endpoint)
    if found is None or not 0 < int(found["port"]) < 65_536:
        raise ValueError("it is neither the absolute path of a Unix socket nor `host:port`")
    host = found["host"] or str(ipaddress.IPv6Address(found["ipv6"]))
    return {"socket_address": {"address": host, "port_value": int(found["port"])}}


def endpoint_of(address: Json) -> str:
    """Returns the endpoint from which `address_of` made `address`."""
    if "pipe" in address:
        return str(address["pipe"]["path"])
    host, port = address["socket_address"]["address"], address["socket_address"]["port_value"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def discovery_of(address: Json) -> Json:
    """Returns the fields of a cluster that say how Envoy finds the address. Host names are resolved repeatedly."""
    host = address.get("socket_address", {}).get("address")
    if host is None:
        return {"type": "STATIC"}
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {"type": "STATIC"}
