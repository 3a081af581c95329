"""`examples/ci`: the steps for a fleet repository, held to the command line, and run on real repositories."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import command_line
import pytest
import yaml
from servers import ServerThread

from serinus.backends.git import GitFleet

EXAMPLES = Path(__file__).parents[2] / "examples" / "ci"
GITHUB, GITLAB = EXAMPLES / "github" / "serinus-plan.yml", EXAMPLES / "gitlab" / "serinus-plan.yml"
SPEC = "serving: {timeout: 300ms}\n"
FILE = "models/card-fraud/model.yaml"
MARKER = "<!-- serinus plan -->"


class OnceEach(yaml.SafeLoader):
    """Refuses a key that is given twice, and reads `on` as the word that it is."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own shape)
        first: [one for one in found if one[0] != "tag:yaml.org,2002:bool"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


def loaded(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=OnceEach)


def steps() -> Sequence[Mapping[str, Any]]:
    return loaded(GITHUB)["jobs"]["plan"]["steps"]  # type: ignore[no-any-return]


def step(name: str) -> Mapping[str, Any]:
    return next(one for one in steps() if one.get("name") == name)


def github_scripts() -> Sequence[str]:
    return [one["run"] for one in steps() if "run" in one]


def gitlab_script() -> str:
    return "\n".join(loaded(GITLAB)["serinus-plan"]["script"])


# --- what they say --------------------------------------------------------------------------------------------


def test_every_command_has_the_verb_and_the_options_that_are_used() -> None:
    known, seen = command_line.verbs(), 0
    for script in (*github_scripts(), gitlab_script()):
        for call in re.findall(r"^ *serinus ([^>|]*)", script.replace("\\\n", " "), re.MULTILINE):
            seen += 1
            assert command_line.unknown(call.split(), known) == []
    assert seen == 2


@pytest.mark.parametrize("script", [*github_scripts(), gitlab_script()], ids=lambda script: script[:20])
def test_every_script_can_be_parsed_and_takes_values_by_the_environment(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, capture_output=True)
    assert "${{" not in script, "text of a pull request would become a part of the script"


def test_what_github_runs_is_pinned_and_has_no_rights_but_those_that_it_needs() -> None:
    document = loaded(GITHUB)
    assert document.keys() == {"name", "on", "permissions", "concurrency", "jobs"}
    assert list(document["on"]) == ["pull_request"], "pull_request_target would run with rights on what others wrote"
    assert document["permissions"] == {}
    (job,) = document["jobs"].values()
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert job["timeout-minutes"] <= 10
    used = [one["uses"] for one in steps() if "uses" in one]
    assert used
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one)] == []
    assert len(re.findall(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+\n", GITHUB.read_text())) == len(used)
    (checkout,) = [one for one in steps() if one.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": "false"}
    for one in steps():
        assert one.keys() <= {"name", "id", "uses", "with", "run", "env", "if"}
        assert ("uses" in one) != ("run" in one)


def test_what_gitlab_runs_is_pinned_and_runs_for_merge_requests_only() -> None:
    ((name, job),) = loaded(GITLAB).items()
    known = {"stage", "image", "timeout", "interruptible", "rules", "variables", "artifacts", "script"}
    assert (name, job.keys()) == ("serinus-plan", known)
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-\w+", job["image"])
    (rule,) = job["rules"]
    assert rule["if"] == '$CI_PIPELINE_SOURCE == "merge_request_event"'
    assert job["variables"] == {"GIT_DEPTH": "0"}


def test_both_install_one_version_and_none_that_comes_later() -> None:
    found = [re.findall(r"pip install --quiet (\S+)", text) for text in (*github_scripts(), gitlab_script())]
    assert sorted(map(tuple, filter(None, found))) == [("serinus==0.1.0",)] * 2


# --- what they do ---------------------------------------------------------------------------------------------


def git(path: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org", "-c", "commit.gpgSign=false")
    return subprocess.run(
        ["git", "-C", str(path), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the branch `change` beside `main`, which has gone on meanwhile."""
    fleet = GitFleet(tmp_path / "origin")
    fleet.write("card-fraud", SPEC, who="anna", why="first")
    fleet.publish("card-fraud", {"version": "6", "release": "card-fraud-6-abcdef"}, who="anna", why="promoted")
    path = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(fleet.repository.path), str(path))
    git(path, "switch", "--quiet", "-c", "change")
    (path / FILE).write_text(SPEC.replace("300ms", "80ms"))
    git(path, "commit", "--quiet", "--all", "-m", "Faster")
    git(path, "switch", "--quiet", "main")
    (path / "models/merchant").mkdir()
    (path / "models/merchant/model.yaml").write_text(SPEC)
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "-m", "Meanwhile")
    return path


def merged(clone: Path) -> None:
    """As GitHub checks a pull request out."""
    git(clone, "checkout", "--quiet", "--detach", "main")
    git(clone, "merge", "--quiet", "--no-ff", "--no-edit", "change")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Serinus is installed already, and `gh` keeps what it is asked to do."""
    programs = tmp_path / "programs"
    program(programs / "pip", "exit 0")
    program(programs / "gh", 'echo "$*" >> "$CALLS"; case "$*" in *--paginate*) cat "$FOUND";; esac')
    (tmp_path / "answer").write_text("")
    (tmp_path / "calls").write_text("")
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        "PATH": path,
        "HOME": str(tmp_path),
        "CALLS": str(tmp_path / "calls"),
        "FOUND": str(tmp_path / "answer"),
    }


def run(script: str, clone: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As runners do."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=clone, env=dict(environment), capture_output=True, text=True, check=False)


@pytest.fixture
def on_github(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    for name in ("summary", "output"):
        (tmp_path / name).write_text("")
    return environment | {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_REPOSITORY": "fraud/fleet",
        "NUMBER": "7",
    }


def test_github_plans_what_the_pull_request_changes_and_nothing_else(
    clone: Path, on_github: dict[str, str], tmp_path: Path
) -> None:
    merged(clone)
    said = run(step("Plan")["run"], clone, on_github)
    assert said.returncode == 0, said.stderr
    text = (tmp_path / "plan.md").read_text()
    assert text.startswith(MARKER)
    assert f"| `card-fraud` | `{FILE}` | another release |" in text
    assert "merchant" not in text
    assert (tmp_path / "summary").read_text() == text
    assert (tmp_path / "output").read_text() == "code=0\n"


def test_github_comments_on_a_mistake_before_it_fails(clone: Path, on_github: dict[str, str], tmp_path: Path) -> None:
    git(clone, "switch", "--quiet", "change")
    (clone / FILE).write_text("servng: 1\n")
    git(clone, "commit", "--quiet", "--all", "-m", "A mistake")
    merged(clone)
    assert run(step("Plan")["run"], clone, on_github).returncode == 0
    assert "servng: is not a field" in (tmp_path / "plan.md").read_text()
    assert (tmp_path / "output").read_text() == "code=1\n"
    assert step("Verdict")["env"] == {"CODE": "${{ steps.plan.outputs.code }}"}
    assert run(step("Verdict")["run"], clone, on_github | {"CODE": "1"}).returncode == 1


def test_github_stops_where_there_is_no_plan(clone: Path, on_github: dict[str, str]) -> None:
    git(clone, "checkout", "--quiet", "--orphan", "without-parents")
    git(clone, "commit", "--quiet", "-m", "first")
    assert run(step("Plan")["run"], clone, on_github).returncode != 0


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("", "--method POST repos/fraud/fleet/issues/7/comments"),
        ("41\n42\n", "--method PATCH repos/fraud/fleet/issues/comments/41"),
    ],
)
def test_github_has_one_comment_that_is_replaced(
    found: str, wanted: str, clone: Path, on_github: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "answer").write_text(found)
    said = run(step("Comment")["run"], clone, on_github)
    assert said.returncode == 0, said.stderr
    asked, written = (tmp_path / "calls").read_text().splitlines()
    assert asked.startswith("api --paginate repos/fraud/fleet/issues/7/comments?per_page=100 --jq ")
    assert MARKER in asked
    assert written == f"api --silent {wanted} -F body=@{tmp_path}/plan.md"


class Notes(ThreadingHTTPServer):
    """The notes of a merge request, as the API of GitLab has them, two a page."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.notes: list[dict[str, Any]] = []

    def add(self, author: int, body: str) -> None:
        self.notes.append({"id": 100 + len(self.notes), "author": {"id": author}, "body": body})


class _Api(BaseHTTPRequestHandler):
    server: Notes
    notes = "/api/v4/projects/3/merge_requests/7/notes"

    def do_GET(self) -> None:
        if self.path == "/api/v4/user":
            self.answer({"id": 5})
            return
        page = int(self.path.removeprefix(f"{self.notes}?per_page=100&page="))
        following = str(page + 1) if len(self.server.notes) > 2 * page else ""
        self.answer(self.server.notes[2 * page - 2 : 2 * page], following)

    def do_POST(self) -> None:
        assert self.path == self.notes
        self.server.add(5, self.body())
        self.answer({})

    def do_PUT(self) -> None:
        number = int(self.path.removeprefix(f"{self.notes}/"))
        next(one for one in self.server.notes if one["id"] == number)["body"] = self.body()
        self.answer({})

    def body(self) -> str:
        return str(json.loads(self.rfile.read(int(self.headers["content-length"])))["body"])

    def answer(self, document: Any, following: str = "") -> None:
        assert self.headers["private-token"] == "a-token"
        text = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.send_header("x-next-page", following)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""


@pytest.fixture
def gitlab() -> Iterator[Notes]:
    with ServerThread(Notes()) as server:
        yield server


@pytest.fixture
def on_gitlab(environment: dict[str, str], gitlab: Notes, clone: Path) -> dict[str, str]:
    """Also with a branch that was merged for the pipeline, `main` is not a part of the change."""
    merged(clone)
    return environment | {
        "CI_API_V4_URL": f"http://127.0.0.1:{gitlab.server_port}/api/v4",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(clone, "merge-base", "main", "change"),
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": git(clone, "rev-parse", "change"),
        "CI_COMMIT_SHA": git(clone, "rev-parse", "HEAD"),
        "SERINUS_PLAN_TOKEN": "a-token",
    }


def test_gitlab_has_one_note_that_is_replaced(clone: Path, on_gitlab: dict[str, str], gitlab: Notes) -> None:
    gitlab.add(9, f"{MARKER} by somebody else")
    gitlab.add(5, "of another job")
    said = run(gitlab_script(), clone, on_gitlab)
    assert said.returncode == 0, said.stderr
    assert len(gitlab.notes) == 3
    first = gitlab.notes[2]["body"]
    assert first == (clone / "plan.md").read_text()
    assert f"| `card-fraud` | `{FILE}` | another release |" in first
    assert "merchant" not in first
    gitlab.notes[2]["body"] = f"{MARKER}\nof an earlier run"
    assert run(gitlab_script(), clone, on_gitlab).returncode == 0
    assert [one["body"] for one in gitlab.notes][2:] == [first]
    assert gitlab.notes[0]["body"] == f"{MARKER} by somebody else"


def test_gitlab_has_the_plan_as_a_file_where_there_is_no_token(
    clone: Path, on_gitlab: dict[str, str], gitlab: Notes
) -> None:
    del on_gitlab["SERINUS_PLAN_TOKEN"]
    assert run(gitlab_script(), clone, on_gitlab).returncode == 0
    assert gitlab.notes == []
    assert (clone / "plan.md").read_text().startswith(MARKER)


def test_gitlab_notes_a_mistake_before_it_fails(clone: Path, on_gitlab: dict[str, str], gitlab: Notes) -> None:
    git(clone, "switch", "--quiet", "change")
    (clone / FILE).write_text("servng: 1\n")
    git(clone, "commit", "--quiet", "--all", "-m", "A mistake")
    del on_gitlab["CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"]  # as in a pipeline that merges nothing
    said = run(gitlab_script(), clone, on_gitlab | {"CI_COMMIT_SHA": git(clone, "rev-parse", "HEAD")})
    assert said.returncode == 1
    assert "servng: is not a field" in gitlab.notes[0]["body"]


def test_gitlab_takes_no_module_from_the_checkout(clone: Path, on_gitlab: dict[str, str], gitlab: Notes) -> None:
    (clone / "json.py").write_text("raise SystemExit('taken from the checkout')\n")
    said = run(gitlab_script(), clone, on_gitlab)
    assert (said.returncode, len(gitlab.notes)) == (0, 1), said.stderr
