"""The kinds of values in the settings of a cluster."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from serinus.core.errors import InvalidInput
from serinus.spec.quantities import Duration, Kind, wrong
from serinus.targets.kubernetes.images import Reference

DIRECTORY = "directory"
"""The key in the context of the validation under which the directory of the document is."""


def expected(words: str) -> PydanticCustomError:
    """Returns the error of a value that is not what `words` say."""
    return wrong(Kind("value", words))


def _namespace(text: str) -> str:
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text) is None:
        raise expected("the name of a namespace, in small letters, digits and '-'")
    return text


def _reference(text: str) -> str:
    try:
        Reference.parse(text)
    except InvalidInput as error:
        raise expected(f"an image reference: {error}") from error
    return text


def _pinned(text: str) -> str:
    try:
        return str(Reference.parse(text).pinned)
    except InvalidInput as error:
        raise expected(f"an image reference with a digest: {error}") from error


def _repository(text: str) -> str:
    found = Reference.parse(_reference(text))
    if found.tag or found.digest:
        raise expected("a repository such as registry.example/serinus, without a tag or a digest")
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    bare = ":" not in host or (host.startswith("[") and host.endswith("]"))
    if not (host and bare and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise expected("host:port, such as 192.0.2.10:7443 or [2001:db8::10]:7443")
    return text


def _listening(text: str) -> str:
    try:
        ipaddress.ip_address(_address(text).rpartition(":")[0].strip("[]"))
    except ValueError as error:
        raise expected("an IP address and a port, such as 0.0.0.0:7443") from error
    return text


def without_password(text: str) -> str:
    if "://" in text and urlsplit(text).password is not None:
        raise expected("an address without a password, which belongs in the file of `credentials`")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise expected("a network as CIDR, such as 192.0.2.0/24") from error


def _whole_seconds(value: timedelta) -> timedelta:
    if value.microseconds:
        raise expected("a duration of whole seconds")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise expected("a path")
    return Path((info.context or {}).get(DIRECTORY, "."), Path(value).expanduser()).absolute()


Namespace = Annotated[str, AfterValidator(_namespace)]
Repository = Annotated[str, AfterValidator(_repository)]
Pinned = Annotated[str, AfterValidator(_pinned)]
Address = Annotated[str, AfterValidator(_address)]
Listening = Annotated[str, AfterValidator(_listening)]
Network = Annotated[str, AfterValidator(_network)]
Seconds = Annotated[Duration, AfterValidator(_whole_seconds)]
File = Annotated[Path, BeforeValidator(_path), Kind("path", "a path")]


def address_parts(address: str) -> tuple[str, int]:
    """Returns the host, without brackets, and the port of an `Address`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
