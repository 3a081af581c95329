"""`serinus install`: what is applied, what is refused, and that the chart's values are checked before."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from api_server import cluster_of
from control_values import LEAST, NAMESPACE, write

from serinus.cli.app import run
from serinus.core.errors import InvalidInput, Refused
from serinus.wiring.control_plane import apply, objects, push_image


def changed(path: tuple[str, ...], value: Any) -> Any:
    document = deepcopy(LEAST)
    section = document
    for name in path[:-1]:
        section = section.setdefault(name, {})
    section[path[-1]] = value
    return document


def test_a_dry_run_prints_what_would_be_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, LEAST)
    assert run(["install", str(file), "--dry-run", "--namespace", NAMESPACE]) == 0
    assert list(yaml.safe_load_all(capsys.readouterr().out)) == list(objects(file, NAMESPACE))
    assert run(["--json", "install", str(file), "--dry-run", "--namespace", NAMESPACE]) == 0
    assert json.loads(capsys.readouterr().out) == list(objects(file, NAMESPACE))


def test_all_mistakes_in_the_values_are_named_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("image: registry.example/serinus/control\nreplica: 3\nstorage: {size: 30}\nconfig: {}\n")
    assert run(["install", str(file), "--dry-run"]) == 2
    said = capsys.readouterr().err
    for line in (
        f"{file}:1: image: expected an image reference with a digest",
        f"{file}:2: replica: is not a field; did you mean 'replicas'?",
        f"{file}:3: storage.size: expected a valid string",
        f"{file}:4: config.cluster: is missing",
        f"{file}:4: config.mlflow: is missing",
    ):
        assert line in said.replace("\n  ", " ")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("config", "cluster", "gateways"), {"client_certificates": True}, "`tls_secret` beside `client_certificates`"),
        (("config", "cluster", "releases"), {"replicas": {"least": 9, "most": 2}}, "`least` to be at most `most`"),
        (("config", "predictions"), "/var/lib", "the address of a bucket"),
    ],
)
def test_values_that_the_pods_would_refuse_are_refused_before(
    path: tuple[str, ...], value: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=said):
        objects(write(tmp_path, changed(path, value)), NAMESPACE)


def test_a_namespace_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--namespace"):
        objects(write(tmp_path, LEAST), "No Name")


class ApiServer:
    """Takes everything but objects of the whole cluster where `narrow`."""

    def __init__(self, *, narrow: bool) -> None:
        self.narrow = narrow
        self.written: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.narrow and "/namespaces/" not in request.url.path:
            said = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "User cannot patch resource"}
            return httpx2.Response(403, json=said)
        if "dryRun" not in request.url.params:
            self.written.append(request.url.path.rpartition("/")[2])
        return httpx2.Response(200, json=json.loads(request.content))


def test_everything_is_applied_and_said(tmp_path: Path) -> None:
    server, said = ApiServer(narrow=False), list[str]()
    found = objects(write(tmp_path, LEAST), NAMESPACE)
    apply(found, cluster_of(server), said.append)
    assert server.written == [one["metadata"]["name"] for one in found]
    assert said[0] == "ServiceAccount serinus-control in serinus"
    assert "ClusterRole serinus-control-tokens.serinus" in said
    assert len(said) == len(found)


def test_nothing_is_applied_where_a_right_is_missing(tmp_path: Path) -> None:
    server = ApiServer(narrow=True)
    with pytest.raises(Refused) as raised:
        apply(objects(write(tmp_path, LEAST), NAMESPACE), cluster_of(server), lambda _: None)
    assert server.written == []
    said = raised.value.message.splitlines()
    assert said[0] == "Rights are missing to install the control plane:"
    assert len(said) == 5  # two roles of the cluster and their bindings
    assert "clusterroles.rbac.authorization.k8s.io" in said[1]


def test_values_without_an_image_are_enough_to_build_it_and_not_to_install(tmp_path: Path) -> None:
    document = deepcopy(LEAST)
    del document["image"]
    file = write(tmp_path, document)
    with pytest.raises(InvalidInput, match="image: is missing"):
        objects(file, NAMESPACE)
    with pytest.raises(InvalidInput, match="digest"):
        push_image(file, "registry.example/control-base:latest", None, lambda _: None)
