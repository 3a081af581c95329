"""Endpoints of releases as Envoy's addresses, and back: the absolute path of a Unix socket, or `host:port`."""

from __future__ import annotations

import ipaddress
import re

from serinus.backends.envoy.names import Json

_LONGEST_PATH = 107
"""Bytes: sockaddr_un holds 108, with a zero at the end."""
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)):(?P<port>\d{1,5})"
)


def address_of(endpoint: str) -> Json:
    """`config.core.v3.Address`. Raises ValueError, which says what an endpoint may be."""
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
    """Of which `address_of` has made `address`."""
    if "pipe" in address:
        return str(address["pipe"]["path"])
    host, port = address["socket_address"]["address"], address["socket_address"]["port_value"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def discovery_of(address: Json) -> Json:
    """How Envoy finds it: fields of a cluster. The name of a host is looked up again and again."""
    host = address.get("socket_address", {}).get("address")
    if host is None:
        return {"type": "STATIC"}
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {"type": "STATIC"}
