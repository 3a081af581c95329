"""OCI images of releases, built without a daemon and pushed to any registry."""

from serinus.targets.kubernetes.images.building import Images, Place
from serinus.targets.kubernetes.images.interpreters import Interpreters
from serinus.targets.kubernetes.images.references import Reference

__all__ = ["Images", "Interpreters", "Place", "Reference"]
