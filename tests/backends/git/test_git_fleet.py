"""What is git's own: commits that name who, what and why; locks left behind; odd surroundings; death while writing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serinus.backends.git import GitFleet
from serinus.backends.git.command import Git
from serinus.backends.git.repository import BRANCH, STALE_SECONDS
from serinus.core.errors import Refused, Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "fleet"


@pytest.fixture
def fleet(path: Path) -> GitFleet:
    return GitFleet(path)


def git(path: Path, *arguments: str) -> str:
    """As a person at a terminal would ask, with an identity of their own."""
    identity = ["-c", "user.name=Carla", "-c", "user.email=carla@example.org"]
    command = ["git", "-C", str(path), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_commit_names_who_what_and_why(fleet: GitFleet, path: Path) -> None:
    commit = fleet.write("card-fraud", "a: 1\n", who="anna", why="Alert budget halved.\n\nAsked for by operations.")
    assert git(path, "log", "-1", "--format=%an|%ae|%cn|%s", "main") == (
        "anna|anna@serinus.local|Serinus|Set the ModelDeployment of card-fraud"
    )
    assert git(path, "log", "-1", "--format=%b", "main") == "Alert budget halved.\n\nAsked for by operations."
    assert git(path, "rev-parse", "main") == commit
    fleet.publish("card-fraud", {"version": "7"}, who="alias challenger", why="")
    assert git(path, "log", "-1", "--format=%an|%ae|%s", "main") == (
        "alias challenger|alias-challenger@serinus.local|Make card-fraud 7 live"
    )


def test_the_history_of_a_model_is_its_own_newest_first(fleet: GitFleet) -> None:
    assert fleet.history("card-fraud") == []
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first\nof all")
    fleet.write("other", "b: 1\n", who="bert", why="not this one")
    last = fleet.publish("card-fraud", {"version": "7"}, who="bert", why="")
    newest, oldest = fleet.history("card-fraud")
    assert (newest.commit, newest.who, newest.why) == (last, "bert", "")
    assert newest.summary == "Make card-fraud 7 live"
    assert (oldest.who, oldest.why) == ("anna", "first\nof all")
    assert newest.at >= oldest.at
    assert newest.at.tzinfo is not None
    assert fleet.history("card-fraud", limit=1) == [newest]


def test_a_name_cannot_forge_a_commits_header(fleet: GitFleet, path: Path) -> None:
    fleet.write(
        "m", "a: 1\n", who="eve <root@x>\ncommitter Mallory <m@x> 1 +0000", why="data 3\nfrom 0000\n\0deleteall"
    )
    assert git(path, "log", "-1", "--format=%cn|%ae", "main").startswith("Serinus|eve")
    assert "Mallory <m@x>" not in git(path, "cat-file", "-p", "main")
    assert fleet.read("m") == "a: 1\n"
    git(path, "fsck", "--strict")


def test_people_clone_it_push_to_it_and_are_read(fleet: GitFleet, path: Path, tmp_path: Path) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(path), str(clone))
    (clone / "models" / "card-fraud" / "model.yaml").write_text("a: 2\n")
    git(clone, "commit", "--quiet", "-am", "By hand")
    git(clone, "push", "--quiet", "origin", "main")
    assert fleet.read("card-fraud") == "a: 2\n"
    fleet.write("card-fraud", "a: 3\n", who="anna", why="third")
    assert [change.who for change in fleet.history("card-fraud")] == ["anna", "Carla", "anna"]


def test_what_is_pushed_over_a_published_state_is_seen_and_where_git_packs_its_branches_too(
    fleet: GitFleet, path: Path, tmp_path: Path
) -> None:
    fleet.publish("card-fraud", {"version": "1"}, who="anna", why="first")
    mark, _ = fleet.changes(None)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(path), str(clone))
    (clone / "live" / "card-fraud.yaml").write_text("version: '2'\n")
    git(clone, "commit", "--quiet", "-am", "By hand")
    git(clone, "push", "--quiet", "origin", "main")
    git(path, "pack-refs", "--all")
    after, changed = fleet.changes(mark)
    assert set(changed or ()) == {"card-fraud"}
    assert fleet.changes(after) == (after, ())


def runs_of_git(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Git's commands, as they are run from now on."""
    runs, run = list[str](), Git.run

    def noted(git: Git, *arguments: str, given: bytes = b"") -> bytes:
        runs.append(arguments[0])
        return run(git, *arguments, given=given)

    monkeypatch.setattr(Git, "run", noted)
    return runs


def test_a_rollback_waits_for_one_run_of_git_which_is_its_own_commit(
    fleet: GitFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the spec, and whether somebody else has changed something since."""
    fleet.write("card-fraud", "model: card-fraud\n", who="anna", why="")
    fleet.publish("card-fraud", {"version": "1"}, who="anna", why="")
    (position, _), (seen, _) = fleet.changes(None), fleet.merged(None)
    assert fleet.read("card-fraud") == "model: card-fraud\n"
    runs = runs_of_git(monkeypatch)
    for version in ("2", "1", "2"):
        assert fleet.read("card-fraud") == "model: card-fraud\n"
        head = fleet.publish("card-fraud", {"version": version}, who="anna", why="")
        assert fleet.changes(position) == (head, {"card-fraud"})
        assert fleet.merged(seen) == (head, ())
        position = seen = head
    assert runs == ["fast-import"] * 3


def test_what_others_commit_between_own_commits_is_seen(fleet: GitFleet, path: Path, tmp_path: Path) -> None:
    first = fleet.publish("card-fraud", {"version": "1"}, who="anna", why="")
    clone = tmp_path / "clone"
    git(path, "clone", "--quiet", str(path), str(clone))
    (clone / "models" / "card-fraud").mkdir(parents=True)
    (clone / "models" / "card-fraud" / "model.yaml").write_text("model: card-fraud\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message=By hand")
    git(clone, "push", "--quiet")
    head = fleet.publish("other", {"version": "1"}, who="anna", why="")
    assert fleet.changes(first) == (head, {"other"})
    assert [one.model for one in fleet.merged(first)[1]] == ["card-fraud"]
    assert fleet.read("card-fraud") == "model: card-fraud\n"


def test_what_is_in_the_place_of_a_spec_and_cannot_be_read_is_refused(
    fleet: GitFleet, path: Path, tmp_path: Path
) -> None:
    fleet.publish("card-fraud", {"version": "1"}, who="anna", why="")
    clone = tmp_path / "clone"
    git(path, "clone", "--quiet", str(path), str(clone))
    (clone / "models" / "card-fraud" / "model.yaml").mkdir(parents=True)
    (clone / "models" / "card-fraud" / "model.yaml" / "x").write_text("")
    (clone / "models" / "large").mkdir()
    (clone / "models" / "large" / "model.yaml").write_text("#" * (4 << 20) + "\n")
    git(clone, "add", "--all")
    submodule = f"160000,{git(clone, 'rev-parse', 'HEAD')},models/linked/model.yaml"
    git(clone, "update-index", "--add", "--cacheinfo", submodule)
    git(clone, "commit", "--quiet", "--message=By hand")
    git(clone, "push", "--quiet")
    assert fleet.read("absent") is None
    for model in ("card-fraud", "large", "linked"):
        with pytest.raises(Refused, match="is not a file of at most 4 MiB"):
            fleet.read(model)


def test_what_is_there_already_is_published_with_one_run_of_git_for_all_models(
    fleet: GitFleet, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [f"model-{number}" for number in range(20)]
    for number, model in enumerate(models):
        fleet.publish(model, {"version": str(number)}, who="anna", why="")
    other, runs = GitFleet(path), runs_of_git(monkeypatch)
    head = git(path, "rev-parse", "main")
    published = {other.publish(model, {"version": str(n)}, who="anna", why="") for n, model in enumerate(models)}
    assert (published, runs) == ({head}, ["ls-tree"])
    clone = tmp_path / "clone"
    git(path, "clone", "--quiet", str(path), str(clone))
    (clone / "live" / "model-3.yaml").write_text("version: '99'\n")
    git(clone, "commit", "--quiet", "--all", "--message=By hand")
    git(clone, "push", "--quiet")
    assert other.publish("model-3", {"version": "3"}, who="anna", why="") != head
    assert other.live("model-3") == {"version": "3"}
    made = other.publish("model-4", {"version": "5"}, who="anna", why="")
    assert (made, other.live("model-4")) == (git(path, "rev-parse", "main"), {"version": "5"})


def test_the_users_git_settings_and_surroundings_change_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Wrong\n[commit]\ngpgSign = true\n[init]\ndefaultBranch = trunk\n[core]\nautocrlf = true\n"
    )
    elsewhere = tmp_path / "elsewhere"
    git(tmp_path, "init", "--quiet", str(elsewhere))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(elsewhere / ".git"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Wrong")
    fleet = GitFleet(path)
    fleet.write("card-fraud", "a: 1\r\n", who="anna", why="x")
    assert fleet.read("card-fraud") == "a: 1\r\n"
    assert [change.who for change in fleet.history("card-fraud")] == ["anna"]
    assert (path / "refs/heads/main").is_file()
    assert not (elsewhere / ".git/refs/heads/main").exists()


def test_a_lock_that_a_killed_process_left_behind_is_removed(fleet: GitFleet, path: Path) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    lock = path / f"{BRANCH}.lock"
    lock.touch()
    os.utime(lock, (time.time() - STALE_SECONDS - 1,) * 2)
    fleet.write("card-fraud", "a: 2\n", who="anna", why="second")
    assert fleet.read("card-fraud") == "a: 2\n"
    assert not lock.exists()


def test_a_lock_that_is_held_just_now_is_waited_for(fleet: GitFleet, path: Path) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    lock = path / f"{BRANCH}.lock"
    lock.touch()
    release = threading.Timer(0.5, lock.unlink)
    release.start()
    fleet.write("card-fraud", "a: 2\n", who="anna", why="second")
    release.join()
    assert fleet.read("card-fraud") == "a: 2\n"


WRITER = """
import sys
from pathlib import Path
from serinus.backends.git import GitFleet
from serinus.backends.git.command import Git

fleet = GitFleet(Path(sys.argv[1]))
for turn in range(10_000):
    fleet.write("card-fraud", f"turn: {turn}\\n" * 200, who="anna", why=str(turn))
    print(turn, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 4])
def test_a_writer_killed_in_the_middle_leaves_a_whole_repository(path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(acknowledged):
            seen = int(writer.stdout.readline())
        writer.kill()
    fleet = GitFleet(path)
    turn, rest = (fleet.read("card-fraud") or "").split("\n", 1)
    assert int(turn.removeprefix("turn: ")) >= seen
    assert rest == f"{turn}\n" * 199
    fleet.write("card-fraud", "a: 1\n", who="anna", why="after")
    assert fleet.read("card-fraud") == "a: 1\n"
    git(path, "fsck", "--strict")


def test_a_directory_with_something_else_in_it_is_left_alone(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match="not a bare Git repository"):
        GitFleet(path)
    assert [child.name for child in path.iterdir()] == ["notes.txt"]


def test_an_empty_directory_becomes_the_repository(path: Path) -> None:
    path.mkdir(parents=True)
    assert GitFleet(path).read("card-fraud") is None
    assert [child.name for child in path.parent.iterdir()] == ["fleet"], "nothing is left beside it"


def test_a_damaged_repository_is_unavailable_in_words(fleet: GitFleet, path: Path) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    (path / "refs/heads/main").write_text("0" * 39 + "1\n")
    with pytest.raises(Unavailable, match="cannot use the fleet repository"):
        fleet.write("card-fraud", "a: 2\n", who="anna", why="second")


def test_without_git_the_error_says_so(fleet: GitFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="not on the PATH"):
        fleet.read("card-fraud")


def test_a_spec_at_its_former_path_is_read_and_moved_by_the_next_one(
    fleet: GitFleet, path: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(path), str(clone))
    (clone / "models").mkdir()
    (clone / "models" / "card-fraud.yaml").write_text("a: 1\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "By hand")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    assert fleet.read("card-fraud") == "a: 1\n"
    fleet.write("card-fraud", "a: 2\n", who="anna", why="")
    assert git(path, "ls-tree", "-r", "--name-only", "main") == "models/card-fraud/model.yaml"
    assert fleet.read("card-fraud") == "a: 2\n"
    assert [change.who for change in fleet.history("card-fraud")] == ["anna", "Carla"]
