"""The fleet repository where its branch is on a Git server that others push to as well."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import free_port, wait_until

from serinus.backends.git import GitFleet, GitRendered, Overtaken, Remote
from serinus.backends.git.command import Git
from serinus.backends.git.repository import Repository
from serinus.core.errors import InvalidInput, Refused, Superseded, Unavailable
from serinus.core.merged import MergedFile

pytestmark = pytest.mark.long


def git(path: Path, *arguments: str) -> str:
    """As a person at a terminal, with an identity of their own."""
    identity = ["-c", "user.name=Carla", "-c", "user.email=carla@example.org"]
    command = ["git", "-C", str(path), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def server(tmp_path: Path) -> Path:
    path = tmp_path / "server.git"
    Git.create(path)
    return path


@pytest.fixture
def fleet(tmp_path: Path, server: Path) -> GitFleet:
    return GitFleet(tmp_path / "fleet", Remote(str(server)))


def hook(server: Path, script: str) -> None:
    file = server / "hooks" / "pre-receive"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


class Person:
    """Has a clone of the server's repository."""

    def __init__(self, server: Path, clone: Path) -> None:
        self.clone = clone
        git(server, "clone", "--quiet", str(server), str(clone))

    def push(self, files: dict[str, str | None], message: str = "By hand") -> str:
        if git(self.clone, "ls-remote", "origin", "main"):
            git(self.clone, "pull", "--quiet", "--rebase", "origin", "main")
        for name, text in files.items():
            file = self.clone / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                file.unlink()
            else:
                file.write_text(text)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", message)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")


@pytest.fixture
def person(server: Path, tmp_path: Path) -> Person:
    return Person(server, tmp_path / "clone")


def test_a_commit_is_on_the_server_when_it_is_reported(fleet: GitFleet, server: Path) -> None:
    commit = fleet.write("card-fraud", "a: 1\n", who="anna", why="first")
    assert git(server, "rev-parse", "main") == commit
    assert git(server, "show", "main:models/card-fraud/model.yaml") == "a: 1"
    assert fleet.read("card-fraud") == "a: 1\n"


def test_what_a_person_pushes_is_read_once_it_was_fetched(fleet: GitFleet, person: Person) -> None:
    fleet.publish("card-fraud", {"version": "1"}, who="anna", why="")
    mark, _ = fleet.changes(None)
    person.push({"models/card-fraud/model.yaml": "a: 2\n", "live/card-fraud.yaml": "version: '2'\n"})
    fleet.repository.fetch()
    assert fleet.read("card-fraud") == "a: 2\n"
    assert set(fleet.changes(mark)[1] or ()) == {"card-fraud"}
    assert [change.who for change in fleet.history("card-fraud")] == ["Carla", "anna"]


def during_the_next_import(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Calls `what` once, between the reading of the server and the push to it."""
    run, pending = Git.run, [what]

    def racing(git: Git, *arguments: str, given: bytes = b"", **other: float) -> bytes:
        if arguments[0] == "fast-import" and pending:
            pending.pop()()
        return run(git, *arguments, given=given, **other)

    monkeypatch.setattr(Git, "run", racing)


def test_a_push_in_between_is_kept_and_built_upon(
    fleet: GitFleet, person: Person, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    theirs: list[str] = []
    during_the_next_import(monkeypatch, lambda: theirs.append(person.push({"models/other/model.yaml": "b: 1\n"})))
    ours = fleet.write("card-fraud", "a: 2\n", who="anna", why="")
    assert git(server, "rev-parse", "main", "main^") == f"{ours}\n{theirs[0]}"
    assert (fleet.read("card-fraud"), fleet.read("other")) == ("a: 2\n", "b: 1\n")


def test_who_has_changed_the_same_file_in_between_is_said_and_not_overwritten_at_once(
    fleet: GitFleet, person: Person, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    during_the_next_import(monkeypatch, lambda: person.push({"models/card-fraud/model.yaml": "a: 7\n"}))
    with pytest.raises(
        Overtaken, match=r"Carla has changed models/card-fraud/model\.yaml meanwhile, in the commit \w+"
    ):
        fleet.write("card-fraud", "a: 2\n", who="anna", why="")
    assert fleet.read("card-fraud") == "a: 7\n"
    fleet.write("card-fraud", "a: 2\n", who="anna", why="now it is known")
    assert git(server, "show", "main:models/card-fraud/model.yaml") == "a: 2"


def test_the_same_change_by_somebody_else_is_no_conflict(
    fleet: GitFleet, person: Person, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    theirs: list[str] = []
    during_the_next_import(monkeypatch, lambda: theirs.append(person.push({"models/card-fraud/model.yaml": "a: 2\n"})))
    assert fleet.write("card-fraud", "a: 2\n", who="anna", why="") == theirs[0]


def test_two_machines_that_push_at_once_lose_nothing(tmp_path: Path, server: Path) -> None:
    fleets = [GitFleet(tmp_path / f"fleet-{number}", Remote(str(server))) for number in range(2)]

    def write(number: int) -> None:
        for turn in range(4):
            fleets[number].write(f"model-{number}-{turn}", "a: 1\n", who=f"machine-{number}", why="")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = git(server, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert len(files) == 8
    assert len(git(server, "rev-list", "main").splitlines()) == 8


def test_a_hook_that_refuses_is_said_in_its_own_words_and_nothing_counts_as_committed(
    fleet: GitFleet, server: Path
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    hook(server, "echo 'GL-HOOK-ERR: main is protected. Open a merge request.' >&2; exit 1")
    before = git(server, "rev-parse", "main")
    with pytest.raises(Unavailable) as refused:
        fleet.write("card-fraud", "a: 2\n", who="anna", why="")
    assert "refuses commits of Serinus to 'main'" in refused.value.message
    assert "GL-HOOK-ERR: main is protected. Open a merge request" in refused.value.message
    assert "Allow Serinus to push" in refused.value.hint
    assert (fleet.read("card-fraud"), git(server, "rev-parse", "main")) == ("a: 1\n", before)


def test_it_goes_on_once_the_hook_allows_it(fleet: GitFleet, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook(server, "exit 1")
    with pytest.raises(Unavailable, match="pre-receive hook declined"):
        fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    (server / "hooks" / "pre-receive").unlink()
    monkeypatch.setattr("serinus.backends.git.repository._QUIET", 0.0)
    again = GitFleet(fleet.repository.path, fleet.repository.remote)
    again.write("card-fraud", "a: 1\n", who="anna", why="")
    assert git(server, "show", "main:models/card-fraud/model.yaml") == "a: 1"


def test_a_repository_that_is_not_there_is_said(tmp_path: Path) -> None:
    fleet = GitFleet(tmp_path / "fleet", Remote("file:///nowhere/fleet.git"))
    with pytest.raises(Unavailable, match=r"has no repository for 'main' of file:///nowhere/fleet\.git"):
        fleet.write("card-fraud", "a: 1\n", who="anna", why="")


def test_a_server_that_is_away_is_said_and_is_not_asked_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = GitFleet(tmp_path / "fleet", Remote(f"git://127.0.0.1:{free_port()}/fleet.git"))
    with pytest.raises(Unavailable, match="does not answer") as away:
        fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    asked: list[str] = []
    run = Git.run

    def noted(git: Git, *arguments: str, given: bytes = b"", **other: float) -> bytes:
        asked.append(arguments[0])
        return run(git, *arguments, given=given, **other)

    monkeypatch.setattr(Git, "run", noted)
    with pytest.raises(Unavailable) as again:
        fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    assert str(again.value) == str(away.value)
    assert not {"fetch", "push"} & set(asked)
    assert fleet.read("card-fraud") is None


def test_a_repository_of_before_is_pushed_to_a_server_that_has_nothing(tmp_path: Path, server: Path) -> None:
    GitFleet(tmp_path / "fleet").write("card-fraud", "a: 1\n", who="anna", why="")
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    fleet.repository.fetch()
    assert git(server, "show", "main:models/card-fraud/model.yaml") == "a: 1"


def test_a_repository_of_before_that_has_other_commits_than_the_server_is_not_mixed_with_it(
    tmp_path: Path, server: Path, person: Person
) -> None:
    GitFleet(tmp_path / "fleet").write("card-fraud", "a: 1\n", who="anna", why="")
    theirs = person.push({"models/other/model.yaml": "b: 1\n"})
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server)))
    for _ in range(2):
        with pytest.raises(Refused, match="has commits that 'main' of") as refused:
            fleet.repository.fetch()
    assert "--allow-unrelated-histories" in refused.value.hint
    assert git(server, "rev-parse", "main") == theirs
    assert fleet.read("card-fraud") == "a: 1\n"


def test_a_history_that_was_rewritten_on_the_server_is_followed(fleet: GitFleet, person: Person) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    person.push({"models/card-fraud/model.yaml": "a: 2\n"})
    git(person.clone, "commit", "--quiet", "--amend", "-m", "Another message")
    git(person.clone, "push", "--quiet", "--force", "origin", "HEAD:main")
    fleet.repository.fetch()
    assert fleet.read("card-fraud") == "a: 2\n"
    assert fleet.history("card-fraud")[0].summary == "Another message"


def test_another_branch_than_main(tmp_path: Path, server: Path) -> None:
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server), branch="production"))
    commit = fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    assert git(server, "rev-parse", "production") == commit
    assert fleet.read("card-fraud") == "a: 1\n"


@pytest.mark.parametrize("branch", ["--upload-pack=touch x", "", "a..b", "a b"])
def test_what_cannot_be_a_branch_is_refused(branch: str) -> None:
    with pytest.raises(InvalidInput, match="not a name of a branch"):
        Remote("https://git.example/fleet.git", branch)


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidInput) as refused:
        Remote("https://anna:hunter2@git.example/fleet.git")
    assert "hunter2" not in str(refused.value)


def test_credentials_are_those_of_the_file(tmp_path: Path) -> None:
    """As git itself answers what it would send."""
    file = tmp_path / "it's credentials"
    file.write_text("https://anna:hunter2@git.example\n")
    Git.create(tmp_path / "empty")
    remote = Remote("https://git.example/fleet.git", credentials=file)
    found = Git(tmp_path / "empty").run(
        *remote.settings, "credential", "fill", given=b"protocol=https\nhost=git.example\n\n"
    )
    assert b"password=hunter2" in found


# --- manifests --------------------------------------------------------------------------------------------


def files_of(server: Path) -> list[str]:
    return git(server, "ls-tree", "-r", "--name-only", "main").splitlines()


@pytest.fixture
def rendered(tmp_path: Path, server: Path) -> GitRendered:
    return GitRendered(Repository(tmp_path / "fleet", Remote(str(server))), "east")


def test_the_manifests_of_a_release_are_one_commit(rendered: GitRendered, server: Path) -> None:
    first = rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n", "service.yaml": "b: 1\n"})
    assert files_of(server) == [
        "rendered/east/card-fraud/card-fraud-7/deployment.yaml",
        "rendered/east/card-fraud/card-fraud-7/service.yaml",
    ]
    assert git(server, "log", "--format=%an|%cn|%s", "main") == "serinus|Serinus|Place card-fraud-7"
    assert (
        rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n", "service.yaml": "b: 1\n"}) == first
    )


def test_a_file_that_is_no_longer_wanted_goes_with_the_same_commit(rendered: GitRendered, server: Path) -> None:
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n", "service.yaml": "b: 1\n"})
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 2\n"})
    assert files_of(server) == ["rendered/east/card-fraud/card-fraud-7/deployment.yaml"]
    assert len(git(server, "rev-list", "main").splitlines()) == 2


def test_a_removed_release_is_gone_and_nothing_else_is(
    rendered: GitRendered, server: Path, person: Person, tmp_path: Path
) -> None:
    west = GitRendered(Repository(tmp_path / "west", Remote(str(server))), "west")
    for release in ("card-fraud-7", "card-fraud-70"):
        rendered.write("card-fraud", release, {"deployment.yaml": "a: 1\n"})
        west.write("card-fraud", release, {"deployment.yaml": "a: 1\n"})
    person.push({"models/card-fraud/model.yaml": "a: 1\n", "rendered/east/card-fraud/README.md": "By hand\n"})
    removed = rendered.remove(["card-fraud-7", "other-1"])
    assert files_of(server) == [
        "models/card-fraud/model.yaml",
        "rendered/east/card-fraud/README.md",
        "rendered/east/card-fraud/card-fraud-70/deployment.yaml",
        "rendered/west/card-fraud/card-fraud-7/deployment.yaml",
        "rendered/west/card-fraud/card-fraud-70/deployment.yaml",
    ]
    assert rendered.remove(["card-fraud-7", "other-1"]) == removed


def test_what_a_person_has_changed_in_a_manifest_is_said_once_and_then_replaced(
    rendered: GitRendered, server: Path, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n"})
    path = "rendered/east/card-fraud/card-fraud-7/deployment.yaml"
    during_the_next_import(monkeypatch, lambda: person.push({path: "a: 99\n"}))
    with pytest.raises(Overtaken, match="Carla has changed rendered/east"):
        rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 2\n"})
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 2\n"})
    assert git(server, "show", f"main:{path}") == "a: 2"


def test_a_folder_that_a_person_has_deleted_is_written_again(
    rendered: GitRendered, server: Path, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.backends.git.repository._FRESH", 0.0)
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n"})
    person.push({"rendered/east/card-fraud/card-fraud-7/deployment.yaml": None})
    with pytest.raises(Overtaken):
        rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n"})
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n"})
    assert files_of(server) == ["rendered/east/card-fraud/card-fraud-7/deployment.yaml"]


@pytest.mark.parametrize("name", ["../x", "a/b", ".git", 'a"b', "a\nb", ""])
def test_a_name_that_could_leave_its_folder_is_refused(rendered: GitRendered, name: str) -> None:
    for model, release, file in ((name, "r", "f"), ("m", name, "f"), ("m", "r", name)):
        with pytest.raises(InvalidInput):
            rendered.write(model, release, {file: "a: 1\n"})


def test_who_may_not_write_any_more_is_asked_before_each_commit(tmp_path: Path, server: Path) -> None:
    """A control plane whose term has ended."""
    allowed = [True]

    def may_write() -> None:
        if not allowed[0]:
            raise Superseded("Another control plane decides.")

    rendered = GitRendered(Repository(tmp_path / "fleet", Remote(str(server))), "east", may_write=may_write)
    rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 1\n"})
    allowed[0] = False
    with pytest.raises(Superseded):
        rendered.write("card-fraud", "card-fraud-7", {"deployment.yaml": "a: 2\n"})
    with pytest.raises(Superseded):
        rendered.remove(["card-fraud-7"])
    assert git(server, "show", "main:rendered/east/card-fraud/card-fraud-7/deployment.yaml") == "a: 1"


def test_a_term_that_ends_while_the_server_takes_its_time_ends_the_attempts_to_push(
    fleet: GitFleet, server: Path, person: Person
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    asked = 0

    def may_write() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Superseded("Another control plane decides.")
        person.push({"README.md": "Hello\n"})  # The first attempt to push comes too late.

    with pytest.raises(Superseded):
        fleet.deciding(may_write).publish("card-fraud", {"version": "7"}, who="serinus", why="")
    assert asked == 2
    assert "live" not in git(server, "ls-tree", "--name-only", "main").split()
    fleet.publish("card-fraud", {"version": "7"}, who="serinus", why="")
    assert git(server, "show", "main:live/card-fraud.yaml") == "version: '7'"


# --- what people merge ------------------------------------------------------------------------------------


def test_what_a_person_has_pushed_is_told_with_who_they_are(fleet: GitFleet, person: Person) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    mark, found = fleet.merged(None)
    assert found == ()
    commit = person.push(
        {"models/card-fraud/model.yaml": "a: 2\n", "README.md": "Hello\n", "models/not a name/model.yaml": ""}
    )
    fleet.repository.fetch()
    head, (one,) = fleet.merged(mark)
    assert (one.model, one.kind, one.path, one.text) == (
        "card-fraud",
        MergedFile.SPEC,
        "models/card-fraud/model.yaml",
        "a: 2\n",
    )
    assert (one.commit, one.summary) == (commit, "By hand")
    assert (one.author.name, one.author.owner, one.author.origin) == ("Carla", "carla@example.org", "git")
    assert one.approver is None
    assert fleet.merged(head) == (head, ())


def test_in_an_empty_repository_everything_is_new(fleet: GitFleet, person: Person) -> None:
    mark, _ = fleet.merged(None)
    assert mark == ""
    person.push({"models/card-fraud/model.yaml": "a: 1\n"})
    fleet.repository.fetch()
    assert [one.path for one in fleet.merged(mark)[1]] == ["models/card-fraud/model.yaml"]


def test_what_serinus_has_written_itself_or_after_somebody_is_not_told(fleet: GitFleet, person: Person) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    mark, _ = fleet.merged(None)
    person.push({"models/card-fraud/model.yaml": "a: 2\n", "models/other/model.yaml": "b: 2\n"})
    fleet.repository.fetch()
    fleet.write("card-fraud", "a: 3\n", who="anna", why="")
    fleet.publish("card-fraud", {"version": "7"}, who="anna", why="")
    assert [one.path for one in fleet.merged(mark)[1]] == ["models/other/model.yaml"]


def test_a_revert_of_what_is_live_is_told_as_such(fleet: GitFleet, person: Person) -> None:
    fleet.publish("card-fraud", {"version": "6", "release": "card-fraud-6-abcdef"}, who="anna", why="")
    fleet.publish("card-fraud", {"version": "7", "release": "card-fraud-7-abcdef"}, who="anna", why="")
    mark, _ = fleet.merged(None)
    git(person.clone, "pull", "--quiet", "origin", "main")
    git(person.clone, "revert", "--no-edit", "HEAD")
    git(person.clone, "push", "--quiet", "origin", "HEAD:main")
    fleet.repository.fetch()
    _, (one,) = fleet.merged(mark)
    assert (one.kind, one.summary) == (MergedFile.LIVE, 'Revert "Make card-fraud 7 live"')
    assert "card-fraud-6-abcdef" in (one.text or "")


def test_a_file_that_is_too_large_is_told_as_such_and_not_read(fleet: GitFleet, person: Person) -> None:
    mark, _ = fleet.merged(None)
    person.push({"models/card-fraud/model.yaml": "#" * (5 << 20)})
    fleet.repository.fetch()
    _, (one,) = fleet.merged(mark)
    assert one.text == ""
    assert "not a file of at most 4 MiB" in one.unreadable


def test_a_deleted_file_is_told_without_a_text(fleet: GitFleet, person: Person) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    mark, _ = fleet.merged(None)
    git(person.clone, "pull", "--quiet", "origin", "main")
    person.push({"models/card-fraud/model.yaml": None})
    fleet.repository.fetch()
    assert [one.text for one in fleet.merged(mark)[1]] == [None]


def test_a_spec_at_its_former_path_is_told_and_a_person_who_moves_it_has_changed_one_file(
    fleet: GitFleet, person: Person
) -> None:
    mark, _ = fleet.merged(None)
    person.push({"models/card-fraud.yaml": "a: 1\n"})
    fleet.repository.fetch()
    mark, (one,) = fleet.merged(mark)
    assert (one.model, one.kind, one.path) == ("card-fraud", MergedFile.SPEC, "models/card-fraud.yaml")
    person.push({"models/card-fraud.yaml": None, "models/card-fraud/model.yaml": "a: 2\n"})
    fleet.repository.fetch()
    _, merged = fleet.merged(mark)
    assert [(one.path, one.text) for one in merged] == [("models/card-fraud/model.yaml", "a: 2\n")]


def as_person(person: Person, name: str, *arguments: str) -> None:
    address = f"{name.lower()}@example.org"
    environment = {**os.environ, "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address}
    environment |= {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address}
    subprocess.run(["git", "-C", person.clone, *arguments], check=True, env=environment, capture_output=True)


@pytest.mark.parametrize("reviewed", [True, False])
@pytest.mark.parametrize("way", ["merge", "rebase"])
def test_who_merges_another_persons_branch_has_approved_it_where_reviews_are_enforced(
    tmp_path: Path, server: Path, person: Person, way: str, reviewed: bool
) -> None:
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server), reviewed=reviewed))
    person.push({"models/card-fraud/model.yaml": "a: 1\n"})
    fleet.repository.fetch()
    mark, _ = fleet.merged(None)
    as_person(person, "Anna", "checkout", "--quiet", "-b", "shorter")
    (person.clone / "models" / "card-fraud" / "model.yaml").write_text("a: 2\n")
    as_person(person, "Anna", "commit", "--quiet", "-am", "A shorter timeout")
    as_person(person, "Anna", "checkout", "--quiet", "main")
    how = ("merge", "--no-ff", "-m", "Merge the branch 'shorter'") if way == "merge" else ("cherry-pick",)
    as_person(person, "Dora", *how, "shorter")
    as_person(person, "Dora", "push", "--quiet", "origin", "HEAD:main")
    fleet.repository.fetch()
    _, (one,) = fleet.merged(mark)
    assert (one.author.name, one.author.owner) == ("Anna", "anna@example.org")
    approver = one.approver.owner if one.approver else None
    assert approver == ("dora@example.org" if reviewed else None)


def test_what_another_control_plane_has_seen_is_not_told_again(
    fleet: GitFleet, person: Person, server: Path, tmp_path: Path
) -> None:
    fleet.write("card-fraud", "a: 1\n", who="anna", why="")
    mark, _ = fleet.merged(None)
    other = GitFleet(tmp_path / "other", Remote(str(server)))
    other.repository.fetch()
    person.push({"models/card-fraud/model.yaml": "a: 2\n"})
    fleet.repository.fetch()
    seen, merged = fleet.merged(mark)
    assert len(merged) == 1
    assert other.merged(seen) == (seen, ()), "it has read less itself"
    behind = GitFleet(tmp_path / "behind", Remote(str(server)))
    behind.repository.fetch()
    server.rename(server.with_name("elsewhere"))
    with pytest.raises(Unavailable):
        behind.merged("f" * len(seen))


def test_where_the_history_was_rewritten_what_is_new_in_it_is_told(fleet: GitFleet, person: Person) -> None:
    person.push({"models/card-fraud/model.yaml": "a: 1\n"})
    fleet.repository.fetch()
    mark, _ = fleet.merged(None)
    (person.clone / "models" / "card-fraud" / "model.yaml").write_text("a: 2\n")
    git(person.clone, "commit", "--quiet", "--amend", "-am", "Another beginning")
    git(person.clone, "push", "--quiet", "--force", "origin", "HEAD:main")
    fleet.repository.fetch()
    head, (one,) = fleet.merged(mark)
    assert (head != mark, one.text) == (True, "a: 2\n")


def test_who_merges_their_own_branch_has_not_approved_it(tmp_path: Path, server: Path, person: Person) -> None:
    fleet = GitFleet(tmp_path / "fleet", Remote(str(server), reviewed=True))
    mark, _ = fleet.merged(None)
    person.push({"models/card-fraud/model.yaml": "a: 1\n"})
    fleet.repository.fetch()
    _, (one,) = fleet.merged(mark)
    assert (one.author.name, one.approver) == ("Carla", None)


def test_the_server_is_followed_and_what_keeps_it_from_being_read_is_raised(
    fleet: GitFleet, server: Path, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serinus.backends.git.fleet.FOLLOWED_EVERY", 0.05)
    monkeypatch.setattr("serinus.backends.git.repository._QUIET", 0.0)
    stop = threading.Event()
    thread = threading.Thread(target=fleet.run, args=(stop,))
    thread.start()
    try:
        person.push({"models/card-fraud/model.yaml": "a: 1\n"})
        wait_until(lambda: fleet.read("card-fraud") == "a: 1\n")
        server.rename(server.with_name("elsewhere"))
        wait_until(lambda: fleet.repository.trouble is not None)
        for ask in (fleet.changes, fleet.merged):
            with pytest.raises(Unavailable, match="has no repository"):
                ask(None)
        server.with_name("elsewhere").rename(server)
        wait_until(lambda: fleet.repository.trouble is None)
        assert fleet.changes(None)[0]
    finally:
        stop.set()
        thread.join()
