"""Environments by real uv from an index of the test's own."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from serinus.backends.uv import UvEnvironments
from serinus.core.errors import Unavailable, Unbuildable
from serinus.core.release import Combination, Environment, Requirements


def python_of(home: Path, environment: Environment) -> Path:
    return home / environment.digest / "bin" / "python"


def run(home: Path, environment: Environment, code: str) -> str:
    answer = subprocess.run(
        [python_of(home, environment), "-I", "-c", code], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or answer.stderr.strip().splitlines()[-1]


def lock_of(home: Path, environment: Environment) -> str:
    return (home / environment.digest / "requirements.lock").read_text()


def compiled(home: Path, environment: Environment, module: str) -> Path:
    return Path(run(home, environment, f"import {module}; print({module}.__cached__)"))


def test_an_environment_holds_what_was_required_and_says_so(index: Any, prepare: Any, home: Path) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2>=1")
    index.add("numbers2", "1.5", "2023-01-01")
    environment = prepare("scorer==1.0")
    assert run(home, environment, "import scorer, numbers2; print(scorer.version, numbers2.version)") == "1.0 1.5"
    lock = lock_of(home, environment)
    assert [line.split(" ")[0] for line in lock.splitlines() if line[0] != " "] == ["numbers2==1.5", "scorer==1.0"]
    assert lock.count("--hash=sha256:") == 2
    facts = json.loads((home / environment.digest / "environment.json").read_text())
    assert facts["packages"] == ["numbers2==1.5", "scorer==1.0"]
    assert facts["python"] == environment.python_version
    assert environment.tried[-1] == "newest package versions: the model loads"


def test_what_is_unpinned_is_resolved_as_of_the_day_the_model_was_logged(home: Path, index: Any, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2")
    index.add("numbers2", "1.24", "2023-01-15")
    index.add("numbers2", "1.26", "2023-01-16")
    environment = prepare("scorer==1.0", at="2023-01-15")
    assert run(home, environment, "import numbers2; print(numbers2.version)") == "1.24"
    assert environment.tried[-1] == "package versions of 2023-01-15, when the model was logged: the model loads"
    assert run(home, prepare("scorer==1.0"), "import numbers2; print(numbers2.version)") == "1.26"


def test_the_newest_versions_are_tried_where_the_dated_lock_does_not_load(home: Path, index: Any, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2")
    index.add("numbers2", "1.24", "2023-01-10", code="raise ImportError('built for another libc')")
    index.add("numbers2", "1.26", "2023-02-01")

    def loads(environment: Environment) -> str | None:
        answer = run(home, environment, "import numbers2; print('fine')")
        return None if answer == "fine" else answer

    environment = prepare("scorer", at="2023-01-15", loads=loads)
    assert environment.tried[-2:] == (
        "package versions of 2023-01-15, when the model was logged: ImportError: built for another libc",
        "newest package versions: the model loads",
    )


def test_an_index_without_dates_is_used_without_dates_and_that_is_said(index: Any, prepare: Any) -> None:
    index.dates = False
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer", at="2023-01-15")
    dated, undated = environment.tried[-2:]
    assert dated.startswith("package versions of 2023-01-15, when the model was logged: ")
    assert undated == "newest package versions: the model loads"


def test_a_model_that_loads_in_no_environment_is_unbuildable_with_what_was_tried(index: Any, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    with pytest.raises(Unbuildable, match="does not load in any environment") as caught:
        prepare("scorer", at="2023-01-15", loads=lambda _: "AttributeError: no such tree")
    assert (
        "when the model was logged: AttributeError: no such tree; newest package versions: the same lock"
        in caught.value.message
    )


def test_the_combinations_of_a_models_files_are_tried_in_their_order(
    home: Path, index: Any, environments: UvEnvironments, said: list[str]
) -> None:
    for version in ("1.0", "2.0", "3.0"):
        index.add("scorer", version, "2023-01-01")
    others = (
        Combination("conda.yaml", (index.option, "scorer==2.0")),
        Combination("requirements.txt", ("scorer==3.0",)),
    )
    asked = Requirements((index.option, "scorer==9"), None, None, "python_env.yaml", others)

    def loads(environment: Environment) -> str | None:
        return None if "scorer==2.0" in lock_of(home, environment) else "wrong version"

    environment = environments.prepare(asked, loads, said.append)
    first, second = environment.tried[-2:]
    assert first == "from python_env.yaml, newest package versions: the package index has no scorer==9"
    assert second == "from conda.yaml, newest package versions: the model loads"
    assert first in said


def test_what_no_environment_mends_builds_no_second_one(index: Any, prepare: Any, home: Path) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.add("scorer", "2.0", "2023-02-01")

    def loads(environment: Environment) -> str | None:
        raise Unbuildable("The model does not load: EOFError: Ran out of input.")

    with pytest.raises(Unbuildable, match="Ran out of input"):
        prepare("scorer", at="2023-01-15", loads=loads)
    assert len(list(home.glob("*/environment.json"))) == 1


def test_an_index_that_is_not_allowed_is_not_asked_and_that_is_said(index: Any, home: Path, said: list[str]) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.add("strange", "1.0", "2023-01-01")
    empty = index.folder.parent / "empty"
    empty.mkdir()
    environments = UvEnvironments(home, always=(), accelerate=False, indexes=[empty.as_uri()])
    lines = (
        f"--find-links {empty.as_uri()}",
        index.option,
        f"--extra-index-url {index.url}",
        f"--find-links {index.url}",
    )
    (wheel,) = index.folder.glob("scorer-*.whl")
    environment = environments.prepare(Requirements((*lines, str(wheel)), None, None), lambda _: None, said.append)
    assert index.requests == 0
    assert len([note for note in environment.tried if "serinus up --index" in note]) == 3
    assert "secret-token" not in str(environment.tried) + str(said)


def test_setuptools_is_added_for_a_package_that_uses_it_without_requiring_it(
    home: Path, index: Any, prepare: Any
) -> None:
    index.add("scorer", "1.0", "2023-01-01", code="import pkg_resources")
    index.add("setuptools", "65.0", "2022-01-01", code="")

    def loads(environment: Environment) -> str | None:
        return None if "setuptools" in lock_of(home, environment) else run(home, environment, "import scorer")

    environment = prepare("scorer", at="2023-01-15", loads=loads)
    assert (
        environment.tried[-1]
        == "package versions of 2023-01-15, when the model was logged, with setuptools: the model loads"
    )


def test_mlflow_is_added_where_the_requirements_do_not_name_it(index: Any, prepare: Any, home: Path) -> None:
    index.add("mlflow", "2.9", "2023-01-01")
    index.add("mlflow_skinny", "2.9", "2023-01-01")
    index.add("scorer", "1.0", "2023-01-01")
    adding = UvEnvironments(home, accelerate=False, indexes=[index.url])
    environment = prepare("scorer", using=adding)
    assert "mlflow==2.9" in lock_of(home, environment)
    assert "added what is needed to load a model and was not required: mlflow" in environment.tried
    for named in ("mlflow<3,>=2.1", "MLflow_Skinny==2.9"):
        assert not [one for one in prepare("scorer", named, using=adding).tried if one.startswith("added")]


def test_a_second_prepare_asks_neither_the_network_nor_uv(index: Any, prepare: Any, said: list[str]) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    first = prepare("scorer", at="2023-01-15")
    requests, lines = index.requests, len(said)
    assert prepare("scorer", at="2023-01-15") == first
    assert index.requests == requests
    assert [line for line in said[lines:] if "resolving" in line or "building" in line] == []


def test_models_with_the_same_lock_share_one_environment(index: Any, prepare: Any, home: Path) -> None:
    index.add("scorer", "1.0", "2023-01-01", "numbers2")
    index.add("numbers2", "1.24", "2023-01-01")
    one = prepare("scorer", at="2023-01-15")
    other = prepare("numbers2==1.24", "scorer>=0.9", at="2023-03-01")
    assert one.digest == other.digest
    assert len(list(home.glob("*/environment.json"))) == 1


def test_a_constraints_file_is_obeyed(home: Path, index: Any, prepare: Any, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        index.add("scorer", version, "2023-01-01")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("scorer<2\n")
    assert run(home, prepare("scorer", f"-c {constraints}"), "import scorer; print(scorer.version)") == "1.0"


def test_a_wheel_that_was_logged_with_the_model_is_installed_under_its_hash(
    home: Path, index: Any, prepare: Any, tmp_path: Path
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    (wheel,) = index.folder.glob("scorer-*.whl")
    moved = wheel.rename(tmp_path / wheel.name)
    environment = prepare(str(moved))
    assert run(home, environment, "import scorer; print(scorer.version)") == "1.0"
    assert "--hash=sha256:" in lock_of(home, environment)


def test_credentials_of_an_index_are_neither_said_nor_kept(
    index: Any, prepare: Any, home: Path, said: list[str]
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer")
    with pytest.raises(Unbuildable) as caught:
        prepare("absent")
    texts = [*said, str(caught.value), *environment.tried]
    texts += [path.read_text() for path in home.rglob("*") if path.suffix in (".txt", ".json", ".lock", ".cfg")]
    assert not [text for text in texts if "secret-token" in text]


@pytest.mark.parametrize("columns", [None, "40"])
@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (["absent"], "the package index has no package absent"),
        (["scorer==9"], "the package index has no scorer==9"),
        (
            ["scorer==1.0", "numbers2==1"],
            "the requirements contradict each other: all versions of scorer depend on numbers2>=2 and the model",
        ),
        (["foo bar"], "'foo bar' is not a valid requirement"),
        (["-e ."], "the requirement '-e .' is source code outside of a package index"),
        (["./code"], "the requirement './code' is source code"),
    ],
)
def test_requirements_that_cannot_be_met_are_explained_in_words(
    index: Any, prepare: Any, packages: list[str], words: str, columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the terminal that Serinus was started in is narrow, and says so."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    index.add("scorer", "1.0", "2023-01-01", "numbers2>=2")
    index.add("numbers2", "1", "2023-01-01")
    index.add("numbers2", "2", "2023-01-01")
    with pytest.raises(Unbuildable) as caught:
        prepare(*packages)
    assert words in caught.value.message
    assert caught.value.hint


def test_an_index_that_does_not_answer_is_worth_another_try(index: Any, prepare: Any) -> None:
    index.close()
    with pytest.raises(Unavailable, match="does not answer") as caught:
        prepare("scorer")
    assert index.host in caught.value.message
    assert "secret-token" not in str(caught.value)


def test_an_index_that_accepts_and_says_nothing_is_named_in_bounded_time(
    environments: UvEnvironments, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        using = UvEnvironments(home, always=(), accelerate=False, indexes=[f"http://me:secret-token@{host}/simple"])
        asked = Requirements((f"--index-url http://{host}/simple", "scorer"), None, None)
        with pytest.raises(Unavailable, match=f"{host}, where packages come from, does not answer") as caught:
            using.prepare(asked, lambda _: None, lambda _: None)
    assert "secret-token" not in str(caught.value)


def test_an_environment_whose_interpreter_is_gone_is_built_again(home: Path, index: Any, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer")
    python = python_of(home, environment)
    python.unlink()
    python.symlink_to("/nonexistent/python")
    assert run(home, prepare("scorer"), "import scorer; print(scorer.version)") == "1.0"


def test_the_bytecode_is_compiled_so_that_no_start_has_to(
    home: Path, index: Any, prepare: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    index.add("scorer", "1.0", "2023-01-01")
    environment = prepare("scorer")
    assert compiled(home, environment, "scorer").exists()


def test_what_is_compiled_for_one_environment_is_shared_with_the_next(
    index: Any, prepare: Any, home: Path, said: list[str]
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.add("numbers2", "1.0", "2023-01-01")
    one, other = prepare("scorer"), prepare("scorer", "numbers2")
    assert compiled(home, one, "scorer").samefile(compiled(home, other, "scorer"))
    told = [line for line in said if line.startswith("bytecode of ")]
    assert "2 files: 1 compiled" in told[1]
    assert run(home, other, "import scorer, numbers2; print(scorer.__file__)").startswith(str(home / other.digest))


def test_a_file_that_does_not_compile_is_left_to_whoever_imports_it(home: Path, index: Any, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01", more={"template.py": "{{ not python }}"})
    assert run(home, prepare("scorer"), "import scorer; print(scorer.version)") == "1.0"


def test_no_code_of_a_package_runs_while_its_environment_is_built(
    home: Path, index: Any, prepare: Any, tmp_path: Path
) -> None:
    proof = tmp_path / "ran"
    pth = f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n"
    index.add("scorer", "1.0", "2023-01-01", code=pth, more={"scorer.pth": pth})
    environment = prepare("scorer")
    assert not proof.exists()
    run(home, environment, "print('started')")
    assert proof.exists()  # so it would have told


ELSEWHERE = """
import sys
from pathlib import Path
from serinus.backends.uv import UvEnvironments
from serinus.core.release import Requirements

home, option, index = sys.argv[1:]
requirements = Requirements((option, "scorer"), None, None, "requirements.txt")
environments = UvEnvironments(Path(home), always=(), accelerate=False, indexes=[index])
print(environments.prepare(requirements, lambda _: None, lambda line: print(line, flush=True)).digest)
"""


@pytest.fixture
def elsewhere(home: Path, index: Any) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts another process that prepares the requirement `scorer` and prints what it is told, then the digest."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", ELSEWHERE, str(home), index.option, index.url]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        assert process.stdout
        process.stdout.close()


def running(home: Path) -> list[int]:
    """Processes that work on it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(home).encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def test_two_processes_that_ask_at_once_build_once(index: Any, elsewhere: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.open.clear()
    first = elsewhere()
    assert index.asked.wait(30)
    second = elsewhere()
    heard = [next(second.stdout)]
    while "by another process" not in heard[-1]:
        heard.append(next(second.stdout))
    index.open.set()
    built, waited = first.stdout.read(), "".join(heard) + second.stdout.read()
    assert "building environment" in built
    assert "building environment" not in waited
    assert built.splitlines()[-1] == waited.splitlines()[-1]
    assert len(index.downloads) == 1


def test_a_kill_in_the_middle_of_a_build_leaves_nothing_half_built(
    index: Any, home: Path, prepare: Any, elsewhere: Any
) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    index.open.clear()
    process = elsewhere()
    assert index.asked.wait(30)
    process.kill()
    process.wait(10)
    assert len(list(home.glob("*.building"))) == 1
    assert list(home.glob("*/environment.json")) == []

    # uv, which still waits for its download, ends with it.
    wait_until(lambda: not running(home), 5.0, "the end of uv")
    index.open.set()
    assert run(home, prepare("scorer"), "import scorer; print(scorer.version)") == "1.0"
    assert list(home.glob("*.building")) == []


def test_what_a_kill_left_behind_goes_with_the_next_prepare_of_anything(index: Any, home: Path, prepare: Any) -> None:
    left = home / f"{'0' * 64}.building"
    left.mkdir(parents=True)
    index.add("scorer", "1.0", "2023-01-01")
    prepare("scorer")
    assert not left.exists()


def test_a_home_that_cannot_be_written_is_worth_another_try(index: Any, home: Path, prepare: Any) -> None:
    index.add("scorer", "1.0", "2023-01-01")
    home.mkdir()
    (home / "resolved").write_text("a file where a directory belongs")
    with pytest.raises(Unavailable, match="no environment can be written: "):
        prepare("scorer")
