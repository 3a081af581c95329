"""The Helm chart: that it is the one which the code makes, and what Helm makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from control_values import LEAST, MOST, NAMESPACE, read, write
from pydantic import BaseModel

from serinus.spec.fields import key
from serinus.targets.kubernetes.control import chart
from serinus.targets.kubernetes.control.chart import _inner
from serinus.targets.kubernetes.control.manifests import manifests
from serinus.targets.kubernetes.control.values import Config, Values
from serinus.targets.kubernetes.settings_file import load_as

CHART = Path(__file__).parents[4] / "deploy" / "chart" / "serinus"
HELM = os.environ.get("SERINUS_HELM") or shutil.which("helm")


def test_the_chart_in_the_repository_is_the_one_that_the_code_makes() -> None:
    found = {str(file.relative_to(CHART)): file.read_text() for file in CHART.rglob("*") if file.is_file()}
    assert found == chart.files(), "python -m serinus.targets.kubernetes.control.chart deploy/chart/serinus"


@pytest.mark.skipif(HELM is None, reason="HELM IS NOT HERE: the chart is not rendered (name it in SERINUS_HELM)")
@pytest.mark.parametrize("document", [LEAST, MOST])
def test_helm_makes_of_the_chart_what_serinus_install_applies(document: Any, tmp_path: Path) -> None:
    command = ["template", "serinus", str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.37.0"]
    done = subprocess.run(
        [str(HELM), *command, "--values", str(write(tmp_path, document))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = _comparable(filter(None, yaml.safe_load_all(done.stdout)), tmp_path)
    ours = _comparable(manifests(read(tmp_path, document), NAMESPACE), tmp_path)
    assert sorted(theirs) == sorted(ours)
    for name, manifest in ours.items():
        assert theirs[name] == manifest, name


def _comparable(found: Any, directory: Path) -> dict[str, Any]:
    """Manifests by kind and name, without nulls, and with the configuration as it is read and not as it is written."""
    manifests = {}
    for one in found:
        if one["kind"] == "ConfigMap":
            file = directory / "config.yaml"
            file.write_text(one["data"]["config.yaml"])
            one = {**one, "data": load_as(Config, file, "The configuration", "")}
        if one["kind"] == "StatefulSet":
            digest = one["spec"]["template"]["metadata"]["annotations"].pop("serinus/config")
            assert len(digest) == 64
        manifests[f"{one['kind']} {one['metadata']['name']}"] = _without_nulls(one)
    return manifests


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


@pytest.mark.skipif(HELM is None, reason="HELM IS NOT HERE: the chart is not checked (name it in SERINUS_HELM)")
def test_helm_refuses_values_that_are_not_there(tmp_path: Path) -> None:
    command = [str(HELM), "template", "serinus", str(CHART), "--values", str(write(tmp_path, {**LEAST, "replica": 3}))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "'replica' not allowed" in done.stderr


def schema() -> Any:
    return jsonschema_rs.Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))


def with_defaults(document: Any) -> Any:
    """As Helm merges values."""
    return _merged(yaml.safe_load((CHART / "values.yaml").read_text()), document)


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: _merged(below.get(name), one) for name, one in above.items()}}


@pytest.mark.parametrize("document", [LEAST, MOST])
def test_the_schema_takes_what_the_code_takes(document: Any, tmp_path: Path) -> None:
    assert list(schema().iter_errors(with_defaults(document))) == []
    assert read(tmp_path, with_defaults(document)) == read(tmp_path, document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("replica",), 3),
        (("config", "cluster", "gateway"), {}),
        (("config", "cluster", "kubeconfig"), "kubeconfig.yaml"),
        (("config", "cluster", "releases", "sizing", "scratch"), "much"),
        (("secrets", "identity"), None),
        (("image",), "registry.example/serinus/control:latest"),
        (("config", "database"), "postgresql://serinus:password@db.example/serinus"),
        (("config", "mlflow"), "http://user:password@mlflow:5000"),
    ],
)
def test_the_schema_refuses_what_the_code_refuses(path: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    document: Any = value
    for name in reversed(path):
        document = {name: document}
    wrong = _merged(with_defaults(LEAST), document)
    assert list(schema().iter_errors(wrong)) != []
    with pytest.raises(Exception, match=path[-1]):
        read(tmp_path, wrong)


@pytest.mark.parametrize("path", [("image",), ("config", "mlflow"), ("config", "cluster", "images", "repository")])
def test_what_has_to_be_given_is_missed(path: tuple[str, ...]) -> None:
    document = json.loads(json.dumps(with_defaults(LEAST)))
    section = document
    for name in path[:-1]:
        section = section[name]
    del section[path[-1]]
    assert [error.message for error in schema().iter_errors(document)] == [f'"{path[-1]}" is a required property']


def test_every_value_is_described() -> None:
    text = (CHART / "values.yaml").read_text()
    lines = [line.strip(" #") for line in text.splitlines()]
    for name, about in fields(Values):
        assert any(line.startswith(f"{name}:") for line in lines), name
        assert about, name
        assert about[:40] in text.replace("\n", " "), name


def fields(section: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Names and descriptions."""
    for name, info in section.model_fields.items():
        inner = _inner(info.annotation)
        if key(name, info) != "global":
            yield key(name, info), info.description or (inner.__doc__ if inner else "") or ""
        if inner is not None:
            yield from fields(inner)
