"""A client of OCI registries."""

from serinus.targets.kubernetes.images.registry.client import INDEX, MANIFEST, Manifest, Registries, Registry, digest_of
from serinus.targets.kubernetes.images.registry.credentials import Credentials, DockerConfig, Login
from serinus.targets.kubernetes.images.registry.words import NotThere

__all__ = [
    "INDEX",
    "MANIFEST",
    "Credentials",
    "DockerConfig",
    "Login",
    "Manifest",
    "NotThere",
    "Registries",
    "Registry",
    "digest_of",
]
