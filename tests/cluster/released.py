"""Releases of real models for the tests of a cluster: files in a home, and images of them in the cluster's registry."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from serinus.backends.uv import UvEnvironments
from serinus.core.home import Home
from serinus.core.release import Release, Requirements, ServingSettings
from serinus.targets.kubernetes.images import Images, Place, Reference, debian
from serinus.targets.kubernetes.images.registry import DockerConfig, Registries
from serinus.wiring.images import build_images

ROW = {"dataframe_split": {"columns": ["amount", "hour"], "data": [[12.5, 3.0]]}}
_PACKAGES = ("mlflow-skinny", "scikit-learn", "pandas<3")


@dataclass(frozen=True)
class Released:
    home: Home
    images: Images
    artifact: str
    environment: str

    def release(self, model: str = "card-fraud", version: str = "7") -> Release:
        settings, when = ServingSettings(timeout_ms=5000), datetime(2026, 1, 1, tzinfo=UTC)
        return Release(f"{model}-{version}-3f9a2c", model, version, self.artifact, self.environment, settings, when)

    def image_of(self, release: Release) -> str:
        return str(self.images.build_and_push(release))

    @contextmanager
    def without_files(self) -> Iterator[Callable[[], None]]:
        """What takes the files of the model away, until the context ends."""
        files = self.home.artifact(self.artifact)
        aside = files.with_name("aside")

        def take_away() -> None:
            files.rename(aside)

        yield take_away
        if aside.exists():
            aside.rename(files)


def made(home: Home, registry: str, plain: Collection[str]) -> Released:
    """A logistic regression, in an environment of its own, on a base image of Debian's packages. Its image is in the
    registry then."""
    home.artifacts.mkdir(parents=True)
    artifact = _save(home)
    home.secret.write_text("0123456789abcdef" * 4)
    environments = UvEnvironments(home.environments, interpreters=[Path(sys.executable)], always=())
    version = ".".join(map(str, sys.version_info[:3]))
    built = environments.prepare(Requirements(_PACKAGES, version), lambda _: None, print)
    registries = Registries(DockerConfig(), plain=plain)
    base = debian.push(registries.of(registry), "serinus/base")
    place = Place(Reference(registry, "serinus"), base)
    released = Released(home, build_images(home, place, plain=plain), artifact, built.digest)
    released.image_of(released.release())
    return released


def _save(home: Home) -> str:
    """Its digest."""
    warnings.simplefilter("ignore")
    path = home.artifacts / "new"
    data = pd.DataFrame({"amount": [1.0, 900.0, 20.0, 1500.0], "hour": [12.0, 3.0, 15.0, 2.0]})
    model = LogisticRegression().fit(data, [0, 1, 0, 1])
    signature = infer_signature(data, model.predict_proba(data))
    mlflow.sklearn.save_model(
        model,
        path,
        signature=signature,
        input_example=data.head(2),
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
    )
    digest = hashlib.sha256((path / "model.pkl").read_bytes() + (path / "MLmodel").read_bytes()).hexdigest()
    path.rename(home.artifact(digest))
    return digest
