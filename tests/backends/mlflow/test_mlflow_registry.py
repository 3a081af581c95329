"""The registry against a real MLflow server: logged models, models of a run, and the server being away."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
from servers import ServerThread

from serinus.backends.mlflow import MlflowRegistry, places, server
from serinus.backends.mlflow import client as mlflow_client
from serinus.backends.mlflow.cache import ArtifactCache
from serinus.backends.mlflow.places import Places
from serinus.core.errors import InvalidInput, NotFound, Refused, Unavailable, Unbuildable
from serinus.core.home import Home
from serinus.core.release import Column, VersionRef
from serinus.targets.local.host import launch


def files_below(path: Path) -> list[str]:
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())


# --- find -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["2", "@challenger", "challenger"])
def test_a_version_is_found_by_its_number_and_by_its_alias(registry: MlflowRegistry, wanted: str) -> None:
    found = registry.find("card-fraud", wanted)
    assert (found.model, found.version, found.status) == ("card-fraud", "2", "READY")
    assert found.run_id


def test_what_does_not_exist_is_answered_with_what_does(registry: MlflowRegistry) -> None:
    with pytest.raises(NotFound, match=r"no version 99.*Its versions: 1, 2"):
        registry.find("card-fraud", "99")
    with pytest.raises(NotFound, match=r"no alias 'chalenger'.*@challenger, @champion"):
        registry.find("card-fraud", "@chalenger")
    with pytest.raises(NotFound, match=r"no registered model 'card-frod'.*card-fraud"):
        registry.find("card-frod", "1")
    with pytest.raises(NotFound, match="no registered model"):
        registry.find("a 'quoted\" name", "@champion")


@pytest.mark.parametrize(
    ("wanted", "error"), [("latest", Refused), ("@latest", Refused), ("v2", InvalidInput), ("", InvalidInput)]
)
def test_reserved_words_are_refused_with_what_to_write(
    registry: MlflowRegistry, wanted: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="card-fraud@"):
        registry.find("card-fraud", wanted)


@pytest.mark.parametrize(
    ("status", "words"), [("PENDING_REGISTRATION", "still being registered"), ("FAILED_REGISTRATION", "not READY")]
)
def test_a_version_that_is_not_ready_is_refused(
    mlflow_server: Any, registry: MlflowRegistry, status: str, words: str
) -> None:
    def set_status(value: str) -> None:
        with sqlite3.connect(mlflow_server.directory / "mlflow.db", timeout=30) as database:
            database.execute("UPDATE model_versions SET status = ? WHERE name = 'constant'", (value,))
        database.close()

    set_status(status)
    try:
        with pytest.raises(Refused, match=words):
            registry.find("constant", "1")
    finally:
        set_status("READY")


# --- aliases ----------------------------------------------------------------------------------------------


def test_aliases_are_listed_set_and_dropped(registry: MlflowRegistry) -> None:
    assert registry.aliases() == {"card-fraud": {"champion": "1", "challenger": "2"}, "constant": {}}
    registry.set_alias("constant", "challenger", "1")
    registry.set_alias("constant", "challenger", "1")
    assert registry.aliases()["constant"] == {"challenger": "1"}
    registry.drop_alias("constant", "challenger")
    registry.drop_alias("constant", "challenger")
    registry.drop_alias("no-such-model", "challenger")
    assert registry.aliases()["constant"] == {}
    with pytest.raises(NotFound):
        registry.set_alias("constant", "champion", "77")


def test_aliases_are_read_over_several_pages(registry: MlflowRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serinus.backends.mlflow.registry._PAGE", 1)
    assert set(registry.aliases()) == {"card-fraud", "constant"}


# --- fetch ------------------------------------------------------------------------------------------------


def test_a_logged_model_is_fetched_and_read(registry: MlflowRegistry, tmp_path: Path) -> None:
    artifact = registry.fetch(registry.find("card-fraud", "1"))
    files = tmp_path / "artifacts" / artifact.digest
    assert artifact.flavor == "mlflow.sklearn"
    assert artifact.inputs == (Column("amount", "double"), Column("hour", "long"))
    assert "scikit-learn==1.7.2" in artifact.requirements.packages
    assert artifact.requirements.python
    assert artifact.requirements.logged_at
    assert "serving_input_example.json" in files_below(files)
    assert "registered_model_meta" not in files_below(files), "MLflow's own note would change the digest"
    assert artifact.warnings == ()


def test_models_of_a_run_and_python_models_are_fetched_too(registry: MlflowRegistry, tmp_path: Path) -> None:
    of_a_run = registry.fetch(registry.find("card-fraud", "2"))
    assert of_a_run.inputs is None
    assert "evaluation.csv" in files_below(tmp_path / "artifacts" / of_a_run.digest)
    python_model = registry.fetch(registry.find("constant", "1"))
    assert python_model.flavor == "mlflow.pyfunc.model"
    assert "artifacts/weights.txt" in files_below(tmp_path / "artifacts" / python_model.digest)


def test_a_second_fetch_downloads_nothing(mlflow_server: Any, registry: MlflowRegistry, tmp_path: Path) -> None:
    ref = registry.find("card-fraud", "1")
    first = registry.fetch(ref)
    stored, away = mlflow_server.directory / "artifacts", mlflow_server.directory / "away"
    stored.rename(away)
    try:
        assert registry.fetch(ref) == first
        assert MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts").fetch(ref) == first, "nor after a restart"
        with pytest.raises(Unbuildable, match="are not in MLflow's artifact store"):
            registry.fetch(registry.find("card-fraud", "2"))
    finally:
        away.rename(stored)
    assert registry.fetch(registry.find("card-fraud", "2")), "what failed is tried again"


def test_many_that_ask_at_once_get_the_same_files(mlflow_server: Any, tmp_path: Path) -> None:
    registries = [MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts") for _ in range(4)]
    ref = registries[0].find("card-fraud", "1")
    with ThreadPoolExecutor(4) as pool:
        artifacts = list(pool.map(lambda registry: registry.fetch(ref), registries))
    assert len({artifact.digest for artifact in artifacts}) == 1
    assert [path.name for path in (tmp_path / "artifacts").iterdir() if not path.name.startswith(".")] == [
        artifacts[0].digest
    ]
    assert files_below(tmp_path / "artifacts" / ".incoming") == []


# --- the cache --------------------------------------------------------------------------------------------


def test_what_a_killed_download_left_is_cleared_and_never_seen(
    tmp_path: Path, make_artifact: Callable[..., Path]
) -> None:
    source = make_artifact()
    left = tmp_path / "cache" / ".incoming" / "key" / "half.bin"
    left.parent.mkdir(parents=True)
    left.write_text("half")

    def download(directory: Path) -> Path:
        assert list(directory.iterdir()) == []
        return source.rename(directory / "model")

    cache = ArtifactCache(tmp_path / "cache")
    files = cache.path(cache.artifact("key", download).digest)
    assert "half.bin" not in files_below(files)
    assert not left.exists()
    assert all(path.stat().st_mode & 0o222 == 0 for path in files.iterdir()), "read-only"


def test_a_broken_artifact_is_not_kept(tmp_path: Path, make_artifact: Callable[..., Path]) -> None:
    source = make_artifact({"MLmodel": None})
    with pytest.raises(Unbuildable):
        ArtifactCache(tmp_path / "cache").artifact("key", lambda directory: source.rename(directory / "model"))
    assert [path for path in files_below(tmp_path / "cache") if not path.startswith(".locks")] == []


def test_two_versions_with_the_same_content_share_their_files(
    tmp_path: Path, make_artifact: Callable[..., Path]
) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    first, second = (
        cache.artifact(key, lambda directory: make_artifact().rename(directory / "model")) for key in ("one", "two")
    )
    assert first == second


def test_an_artifact_that_somebody_removed_is_fetched_again(tmp_path: Path, make_artifact: Callable[..., Path]) -> None:
    cache = ArtifactCache(tmp_path / "cache")

    def fetch() -> Path:
        return cache.path(cache.artifact("key", lambda directory: make_artifact().rename(directory / "model")).digest)

    fetch().rename(tmp_path / "elsewhere")
    assert (fetch() / "MLmodel").is_file()


def test_a_confined_process_that_may_read_the_files_cannot_hold_their_locks(
    tmp_path: Path, make_artifact: Callable[..., Path]
) -> None:
    """A zygote may; a descriptor for reading would be enough for flock."""
    cache = ArtifactCache(tmp_path / "cache")
    artifact = cache.artifact("key", lambda directory: make_artifact().rename(directory / "model"))
    code = f"""
import sys
sys.path.insert(0, {str(launch.runtime_source())!r})
from pathlib import Path
from serinus_runtime.isolation import confine
confine.confine((Path({str(tmp_path)!r}), *confine.own_directories()), None, ())
for path in {[str(tmp_path / "cache" / artifact.digest / "MLmodel"), str(tmp_path / "cache/.locks/key")]!r}:
    try:
        print(bool(open(path)))
    except OSError as error:
        print(type(error).__name__)
"""
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "PermissionError"]


def test_a_full_disk_is_said_and_keeps_nothing_half_downloaded(tmp_path: Path) -> None:
    def download(directory: Path) -> Path:
        (directory / "half.bin").write_text("half")
        Path("/dev/full").write_text("no space left")
        return directory

    with pytest.raises(Unavailable, match=r"full: nothing half-downloaded was kept"):
        ArtifactCache(tmp_path / "cache").artifact("key", download)
    assert files_below(tmp_path / "cache") == [".locks/key"]


# --- run_file ---------------------------------------------------------------------------------------------


def test_a_file_of_the_run_is_found_and_what_is_not_there_is_none(registry: MlflowRegistry) -> None:
    ref = registry.find("card-fraud", "1")
    found = registry.run_file(ref, "evaluation.csv")
    assert found is not None
    assert found.read_text() == "amount,hour,fraud"
    nested = registry.run_file(ref, "reports/quality.txt")
    assert nested is not None
    assert nested.read_text() == "nested"
    assert registry.run_file(ref, "evaluation.parquet") is None
    assert registry.run_file(ref, "reports") is None
    assert registry.run_file(ref, "no-such-folder/x.csv") is None


def test_the_models_own_file_comes_before_the_runs(registry: MlflowRegistry) -> None:
    found = registry.run_file(registry.find("card-fraud", "2"), "evaluation.csv")
    assert found is not None
    assert found.read_text() == "of the model"


def test_a_run_that_is_gone_has_no_files(registry: MlflowRegistry) -> None:
    ref = registry.find("card-fraud", "1")
    registry.fetch(ref)
    assert registry.run_file(replace(ref, run_id=None), "evaluation.csv") is None


@pytest.mark.parametrize("name", ["/etc/passwd", "../token", "a/../../b", ""])
def test_a_name_that_leads_out_of_the_run_is_refused(registry: MlflowRegistry, name: str) -> None:
    with pytest.raises(InvalidInput):
        registry.run_file(VersionRef("card-fraud", "1", "READY"), name)


# --- away -------------------------------------------------------------------------------------------------


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """The address of a server that gives every request the same status."""

    def serve(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.send_response(status)
                self.end_headers()

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        server = stack.enter_context(ServerThread(HTTPServer(("127.0.0.1", 0), Handler)))
        return f"http://127.0.0.1:{server.server_port}"

    with contextlib.ExitStack() as stack:
        yield serve


def test_a_registry_that_is_away_is_unavailable_at_once(tmp_path: Path, new_port: Callable[[], int]) -> None:
    registry = MlflowRegistry(f"http://user:secret@127.0.0.1:{new_port()}", tmp_path)
    mlflow_client.connect("http://127.0.0.1:1")  # the import is not what is measured
    for act in (
        registry.aliases,
        lambda: registry.find("card-fraud", "1"),
        lambda: registry.fetch(VersionRef("card-fraud", "1", "READY")),
        lambda: registry.set_alias("card-fraud", "champion", "1"),
        lambda: registry.drop_alias("card-fraud", "champion"),
    ):
        started = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer") as refusal:
            act()
        assert time.monotonic() - started < 3
        assert "secret" not in str(refusal.value)


def test_a_registry_that_hangs_is_unavailable_after_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = MlflowRegistry(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        with pytest.raises(Unavailable, match="no answer in time"):
            registry.aliases()


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_wants_a_password_says_which_setting_to_make(
    tmp_path: Path, answering: Callable[[int], str], status: int
) -> None:
    with pytest.raises(Unavailable, match="MLFLOW_TRACKING_TOKEN"):
        MlflowRegistry(answering(status), tmp_path).aliases()


def test_a_registry_that_fails_is_unavailable(tmp_path: Path, answering: Callable[[int], str]) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        MlflowRegistry(answering(500), tmp_path).find("card-fraud", "1")


def test_the_global_tracking_uri_is_neither_read_nor_changed(
    mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    before = mlflow.get_tracking_uri()
    registry = MlflowRegistry(mlflow_server.uri, tmp_path / "other")
    ref = registry.find("card-fraud", "1")
    assert (tmp_path / "other" / registry.fetch(ref).digest).is_dir()
    assert registry.run_file(ref, "evaluation.csv") is not None
    assert mlflow.get_tracking_uri() == before == "http://127.0.0.1:1"


# --- the server -------------------------------------------------------------------------------------------


def test_the_server_refuses_hosts_that_are_not_this_machine(mlflow_server: Any) -> None:
    address = f"{mlflow_server.uri}/api/2.0/mlflow/registered-models/search"
    password = os.environ["MLFLOW_TRACKING_PASSWORD"]
    known = {"Authorization": f"Bearer {password}"}
    strange = urllib.request.Request(address, headers={**known, "Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(strange, timeout=10)
    with urllib.request.urlopen(urllib.request.Request(address, headers=known), timeout=10) as response:
        assert response.status == 200


@pytest.mark.long
def test_a_server_that_was_killed_starts_again_with_what_it_had(
    run_server: Callable[..., Any], new_port: Callable[[], int], tmp_path: Path
) -> None:
    port = new_port()
    with run_server(tmp_path / "server", port) as first:
        client = mlflow_client.connect(first.uri)
        client.create_registered_model("card-fraud")
        first.process.kill()
        first.process.wait()
    with run_server(tmp_path / "server", port) as second:
        assert set(MlflowRegistry(second.uri, tmp_path / "artifacts").aliases()) == {"card-fraud"}
        second.process.terminate()
        assert second.process.wait(20) in (0, -15)


def test_a_port_that_is_taken_ends_the_server_at_once_with_a_reason(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        Home(tmp_path).mlflow_password.write_text("a")
        command = server.command(Home(tmp_path), other.getsockname()[1])
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "is in use by another process" in ended.stderr


# --- where files are taken from ---------------------------------------------------------------------------


def registered_at(uri: str, name: str, place: str, *, by_run: bool) -> VersionRef:
    """A version whose files are said to lie at `place`: by itself, or looked up by its run."""
    client = mlflow_client.connect(uri)
    run = client.create_run(client.create_experiment(f"of-{name}", artifact_location=place)).info
    client.create_registered_model(name)
    for directory in ("", "inner"):
        file = Path(urlsplit(run.artifact_uri).path) / directory / "token"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("srn_secret")
    source = f"{f'runs:/{run.run_id}' if by_run else run.artifact_uri}/inner"
    version = client.create_model_version(name, source, run.run_id)
    return VersionRef(name, str(version.version), "READY", run.run_id, source, {})


@pytest.mark.parametrize("bundled", [True, False], ids=["our-server", "a-teams-server"])
@pytest.mark.parametrize("by_run", [True, False], ids=["by-its-run", "by-itself"])
@pytest.mark.parametrize("scheme", ["file://", ""])
def test_no_path_of_this_machine_becomes_a_model(
    mlflow_server: Any, tmp_path: Path, bundled: bool, by_run: bool, scheme: str
) -> None:
    name = f"path-{bundled}-{by_run}-{len(scheme)}"
    ref = registered_at(mlflow_server.uri, name, f"{scheme}{tmp_path}/home", by_run=by_run)
    registry = MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts", bundled=bundled)
    with pytest.raises(Unbuildable, match="files of this version"):
        registry.fetch(ref)
    with pytest.raises(Unbuildable, match="files of this version"):
        registry._run_file(ref.run_id, PurePosixPath("token"))
    assert not [file for file in (tmp_path / "artifacts").rglob("*") if file.name == "token"]


def test_a_source_that_is_no_place_is_not_tried_again_for_ever(mlflow_server: Any, tmp_path: Path) -> None:
    ref = registered_at(mlflow_server.uri, "no-place", f"file://{tmp_path}", by_run=True)
    client = mlflow_client.connect(mlflow_server.uri)
    version = client.create_model_version("no-place", f"runs:/{ref.run_id}", ref.run_id).version
    ref = VersionRef("no-place", str(version), "READY", ref.run_id, "", {})
    with pytest.raises(InvalidInput, match="Not a proper"):
        MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts", bundled=True).fetch(ref)


def test_our_server_does_not_send_serinus_to_other_hosts(mlflow_server: Any, tmp_path: Path) -> None:
    client = mlflow_client.connect(mlflow_server.uri)
    client.create_registered_model("elsewhere")
    version = client.create_model_version("elsewhere", "s3://somebody/model")
    ref = VersionRef("elsewhere", str(version.version), "READY", None, "s3://somebody/model", {})
    with pytest.raises(Unbuildable, match="not in the MLflow server of Serinus"):
        MlflowRegistry(mlflow_server.uri, tmp_path / "artifacts", bundled=True).fetch(ref)


@pytest.mark.parametrize("bundled", [True, False], ids=["our-server", "a-teams-server"])
@pytest.mark.parametrize("scheme", ["mlflow-artifacts", "http", "https"])
def test_no_other_server_is_sent_the_registrys_credentials(*, bundled: bool, scheme: str) -> None:
    """Servers of earlier versions of MLflow let whoever registers a version name one."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    uri = "http://user:secret@registry.example:5000"
    with places.only(Places.of(uri, bundled=bundled), uri):
        for host in ("elsewhere.example:5000", "registry.example:5001", "registry.example:5000@elsewhere.example"):
            with pytest.raises(Unbuildable, match="files of this version"):
                get_artifact_repository(f"{scheme}://{host}/model", uri)
        if not bundled:
            get_artifact_repository(f"{scheme}://registry.example:5000/model", uri)
