"""Where an image is: its registry, its repository, and a tag or a digest."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from serinus.core.errors import InvalidInput

# As the OCI distribution specification has them.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REPOSITORY = 200
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry/repository`, and with it `:tag`, `@sha256:...`, or both."""

    registry: str
    """`host` or `host:port`."""
    repository: str
    tag: str = ""
    digest: str = ""
    """`sha256:<64 hex digits>`"""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises InvalidInput: it is no reference, or it does not name its registry."""
        name, _, digest = text.partition("@")
        registry, _, rest = name.partition("/")
        repository, _, tag = rest.partition(":")
        if not is_host(registry):
            raise InvalidInput(
                "An image reference does not begin with the host of its registry.",
                hint="Write it as registry.example/name@sha256:..., with docker.io/library/ for Docker Hub's own.",
            )
        if (
            not is_repository(repository)
            or (tag and not _TAG.fullmatch(tag))
            or (digest and not _DIGEST.fullmatch(digest))
            or text.endswith(("@", ":"))
        ):
            raise InvalidInput(
                f"The image reference with the registry {registry} is malformed.",
                hint="Write it as registry.example/name:tag or registry.example/name@sha256:..., in small letters.",
            )
        return cls(registry, repository, tag, digest)

    @property
    def pinned(self) -> Reference:
        """With the digest alone. Raises InvalidInput: it has none, so that it may be another image tomorrow."""
        if not self.digest:
            raise InvalidInput(
                f"The image {self} is not pinned by a digest.",
                hint="Add its digest: registry.example/name@sha256:...",
            )
        return replace(self, tag="")

    @property
    def selector(self) -> str:
        """What the registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_host(text: str) -> bool:
    """Whether the first part of a reference is a registry, and not the first part of a repository's name."""
    return bool(_HOST.fullmatch(text)) and ("." in text or ":" in text or text == "localhost")


def is_repository(text: str) -> bool:
    return len(text) <= _LONGEST_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def repository_part(name: str) -> str:
    """`name`, such as that of a model, as a part of a repository's name: in small letters, without what none has."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"


def address(registry: str, plain: Collection[str] = ()) -> str:
    """The URL of a registry's API. `plain`: registries that are asked without TLS, as those on this machine are."""
    host = "registry-1.docker.io" if registry in _DOCKER_HUB else registry
    return f"{'http' if registry in plain or _is_loopback(registry) else 'https'}://{host}"


def credentials_key(registry: str) -> str:
    """The name under which Docker's configuration has the credentials of a registry."""
    return "https://index.docker.io/v1/" if registry in _DOCKER_HUB else registry


def _is_loopback(registry: str) -> bool:
    host = re.sub(r":\d+$", "", registry).strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
