"""Kubeconfig files: those that can be used, and what is said of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from leaders import Leader
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as ClusterEntry
from lightkube.config.models import User

from serinus.core.errors import InvalidInput, Superseded, Unavailable
from serinus.targets.kubernetes.cluster import Cluster, kinds
from serinus.targets.kubernetes.cluster.connection import Gate

TOKEN = "token-that-nobody-may-see"


def kubeconfig(tmp_path: Path, **user: object) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": user or {"token": TOKEN}}],
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(document))
    return file


def test_an_api_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    cluster = Cluster.connected(kubeconfig(tmp_path))
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 does not answer: .*refused") as raised:
        cluster.list(kinds.POD, "serinus")
    assert TOKEN not in f"{raised.value!r}{raised.value}"


def test_who_may_not_write_only_reads(tmp_path: Path) -> None:
    leader = Leader(1)
    cluster = Cluster.connected(kubeconfig(tmp_path), may_write=leader.term)
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "serinus"}}
    writes: list[Callable[[], object]] = [
        lambda: cluster.apply(manifest),
        lambda: cluster.create(manifest),
        lambda: cluster.replace(manifest),
        lambda: cluster.merge(kinds.CONFIG_MAP, "one", "serinus", {}),
        lambda: cluster.delete(kinds.CONFIG_MAP, "one", "serinus"),
    ]
    for write in writes:
        with pytest.raises(Unavailable, match="refused"):
            write()
    leader.end("another one decides")
    for write in writes:
        with pytest.raises(Superseded, match="another one decides"):
            write()
    with pytest.raises(Unavailable, match="refused"):
        cluster.get(kinds.CONFIG_MAP, "one", "serinus")


def test_a_kubeconfig_without_a_user_is_one_of_nobody(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path)
    document = yaml.safe_load(file.read_text())
    document.pop("users")
    del document["contexts"][0]["context"]["user"]
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(Unavailable, match="refused"):
        Cluster.connected(file).list(kinds.POD, "serinus")


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone cannot be used"):
        Cluster.connected(tmp_path / "gone")


def test_outside_of_a_pod_there_is_no_service_account() -> None:
    with pytest.raises(InvalidInput, match="service account"):
        Cluster.connected(None)


@pytest.mark.parametrize(
    "text", ["", "[]", "clusters: 1", f"users: [{{name: u, user: {{token: [{TOKEN}]}}}}]", "a: : b"]
)
def test_a_kubeconfig_that_is_none_is_refused_without_its_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(InvalidInput, match="config cannot be") as raised:
        Cluster.connected(tmp_path / "config")
    assert TOKEN not in str(raised.value)


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'elsewhere' not found"):
        Cluster.connected(kubeconfig(tmp_path), context="elsewhere")


def test_certificates_that_are_missing_are_said(tmp_path: Path) -> None:
    pair = {"client-certificate": "/nowhere/cert", "client-key": "/nowhere/key"}
    with pytest.raises(InvalidInput, match="certificates"):
        Cluster.connected(kubeconfig(tmp_path, **pair))


def test_a_credential_plugin_that_fails_is_named_and_not_quoted(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho {TOKEN} >&2\nexit 1\n")
    plugin.chmod(0o700)
    api = "client.authentication.k8s.io/v1beta1"
    cluster = Cluster.connected(kubeconfig(tmp_path, exec={"apiVersion": api, "command": str(plugin)}))
    with pytest.raises(Unavailable, match=r"credential plugin .* the command '.*/plugin'") as raised:
        cluster.list(kinds.POD, "serinus")
    assert TOKEN not in str(raised.value)


def test_a_credential_plugin_that_is_not_there_is_said(tmp_path: Path) -> None:
    api = "client.authentication.k8s.io/v1beta1"
    command = str(tmp_path / "gone")
    with pytest.raises(Unavailable, match=r"No such file or directory: .*gone"):
        Cluster.connected(kubeconfig(tmp_path, exec={"apiVersion": api, "command": command})).list(kinds.POD, "serinus")


def test_a_credential_plugin_that_answers_nonsense_is_said(tmp_path: Path) -> None:
    api = "client.authentication.k8s.io/v1beta1"
    for output in (TOKEN, '{"status": {}}'):
        spec = {"apiVersion": api, "command": "printf", "args": ["%s", output]}
        with pytest.raises(Unavailable, match="plugin") as raised:
            Cluster.connected(kubeconfig(tmp_path, exec=spec)).list(kinds.POD, "serinus")
        assert TOKEN not in str(raised.value)


def test_a_connection_is_not_closed_while_a_watch_uses_it() -> None:
    """Its descriptor could belong to another file by the time that the watch writes to it."""
    reading, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    class Slow(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            reading.set()
            assert go_on.wait(10)
            yield b'{"type": "ADDED", "object": {"metadata": {"name": "one", "resourceVersion": "8"}}}\n'

    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, stream=Slow())

    class Transport(httpx2.MockTransport):
        closed = False

        def close(self) -> None:
            Transport.closed = True

    config = KubeConfig.from_one(cluster=ClusterEntry(server="https://10.0.0.1:6443"), user=User(token="t")).get()
    client = Client(config, transport=Transport(answer), field_manager="serinus", trust_env=False)
    cluster = Cluster(client)

    def watch() -> None:
        for change in cluster.watch(kinds.POD, "serinus", "7"):
            seen.append(change.object["metadata"]["name"])
            return

    watching = threading.Thread(target=watch)
    watching.start()
    assert reading.wait(10)
    cluster.close()
    assert not Transport.closed
    with pytest.raises(Unavailable, match="was closed"):
        cluster.list(kinds.POD, "serinus")
    go_on.set()
    watching.join(10)
    assert seen == ["one"]
    assert Transport.closed
    assert len(asked) == 1


def test_a_watch_begins_no_connection_after_the_client_was_closed() -> None:
    gate = Gate()
    gate.closed = True
    with pytest.raises(httpx2.ConnectError, match="was closed"):
        gate.handle_request(httpx2.Request("GET", "https://10.0.0.1:6443/"))
