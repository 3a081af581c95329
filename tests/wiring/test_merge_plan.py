"""What a change in a checkout of the fleet repository would do, by Git and the files alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from serinus.backends.git import GitFleet
from serinus.core.errors import InvalidInput
from serinus.resources import MergePlan, PlannedChange
from serinus.wiring.merge_plan import plan

SPEC = "model: card-fraud\nserving: {timeout: 300ms}\nrollout:\n  steps: [10%, 50%]\n"
FILE = "models/card-fraud/model.yaml"
LIVE = "live/card-fraud.yaml"


def git(path: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Carla", "-c", "user.email=carla@example.org", "-c", "commit.gpgSign=false")
    command = ["git", "-C", str(path), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Team:
    """The repository of Serinus, and a clone of it in which a person works on a branch."""

    def __init__(self, fleet: GitFleet, clone: Path) -> None:
        self.fleet, self.clone = fleet, clone
        git(clone.parent, "clone", "--quiet", str(fleet.repository.path), str(clone))
        git(clone, "switch", "--quiet", "-c", "change")

    def write(self, text: str | None, path: str = FILE) -> None:
        file = self.clone / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            file.unlink()
        else:
            file.write_text(text)

    def commit(self, message: str = "By hand") -> str:
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", message)
        return git(self.clone, "rev-parse", "HEAD")

    def plan(self, since: str | None = None, until: str | None = None) -> MergePlan:
        return plan(self.clone, since=since, until=until)

    def one(self) -> PlannedChange:
        (found,) = self.plan().changes
        return found


def live(version: str) -> dict[str, str]:
    return {"version": version, "release": f"card-fraud-{version}-abcdef"}


@pytest.fixture
def fleet(tmp_path: Path) -> GitFleet:
    """card-fraud@7 has followed card-fraud@6."""
    found = GitFleet(tmp_path / "fleet")
    found.write("card-fraud", SPEC, who="anna", why="first")
    found.publish("card-fraud", live("6"), who="anna", why="promoted")
    found.publish("card-fraud", live("7"), who="anna", why="promoted")
    return found


@pytest.fixture
def team(fleet: GitFleet, tmp_path: Path) -> Team:
    return Team(fleet, tmp_path / "clone")


def test_a_checkout_without_a_change_has_an_empty_plan(team: Team) -> None:
    found = team.plan()
    assert (found.changes, found.notes, found.ok, found.until) == ([], [], True, None)
    assert found.since == git(team.clone, "rev-parse", "origin/main")


def test_other_behaviour_is_another_release_by_the_steps_of_the_spec(team: Team) -> None:
    team.write(SPEC.replace("300ms", "80ms"))
    found = team.one()
    assert (found.effect, found.model, found.file, found.error) == ("release", "card-fraud", FILE, "")
    assert "card-fraud@7" in found.summary
    assert [(one.field, one.before, one.after, one.line) for one in found.fields] == [
        ("serving.timeout", "300ms", "80ms", 2)
    ]
    assert found.steps == [
        "the gates",
        "canary with 10% of the traffic, for 10m and 5,000 requests at least",
        "canary with 50% of the traffic, for 10m and 20,000 requests at least",
        "promotion",
        "watch for 24h; a release that degrades is rolled back",
    ]
    assert any("alias challenger" in note for note in team.plan().notes)


def test_an_approval_is_one_of_the_steps(team: Team) -> None:
    team.write(SPEC.replace("300ms", "80ms").replace("rollout:", "rollout:\n  approval: required"))
    assert team.one().steps[1] == "approval by another person than the author"


def test_a_change_of_scale_alone_has_no_canary(team: Team) -> None:
    team.write(SPEC.replace("timeout: 300ms", "timeout: 300ms, workers: 4"))
    found = team.one()
    assert (found.effect, found.steps, found.notes) == ("scale", ["the new scale"], [])
    team.write(SPEC.replace("timeout: 300ms", "timeout: 300ms, workers: 4") + "retention: {predictions: 30d}\n")
    assert team.one().notes == ["The values that are not about scale apply from the next deployment on."]


def test_values_of_the_next_rollout_apply_later(team: Team) -> None:
    team.write(SPEC.replace("10%", "20%"))
    found = team.one()
    assert (found.effect, found.steps) == ("later", [])
    assert "card-fraud@7 stays as it is" in found.summary


def test_a_comment_and_a_default_that_is_written_out_mean_nothing(team: Team) -> None:
    team.write(f"# why\n{SPEC}retention: {{predictions: 90d}}\n")
    found = team.one()
    assert (found.effect, found.fields, found.steps) == ("nothing", [], [])


def test_a_model_that_never_was_live_is_the_first_release_without_a_canary(team: Team) -> None:
    team.write("alerts: {budget: 1%}\n", "models/merchant/model.yaml")
    found = team.one()
    assert (found.model, found.effect) == ("merchant", "new")
    assert found.steps[:2] == ["the gates", "full traffic, because there is no champion to compare with"]
    assert [one.field for one in found.fields] == ["alerts.budget"]


def test_a_retired_model_comes_back_as_its_only_release(fleet: GitFleet, tmp_path: Path) -> None:
    retired = {"retired": "2026-01-01T00:00:00+00:00", "version": "7", "release": "card-fraud-7-abcdef"}
    fleet.publish("card-fraud", retired, who="anna", why="replaced")
    team = Team(fleet, tmp_path / "clone")
    team.write(SPEC.replace("300ms", "80ms"))
    assert team.one().effect == "new"


def test_mistakes_are_told_with_file_line_and_word(team: Team) -> None:
    team.write(SPEC + "servng: {timeout: 80ms}\nalerts: {budget: lots}\n")
    team.write("model: other\n", "models/merchant/model.yaml")
    found = team.plan()
    assert not found.ok
    first, second = found.changes
    assert [line.split(" ")[:2] for line in first.error.splitlines()] == [
        [f"{FILE}:5:", "servng:"],
        [f"{FILE}:6:", "alerts.budget:"],
    ]
    assert "did you mean 'serving'?" in first.error
    assert second.error == "models/merchant/model.yaml:1: model: expected 'merchant', got 'other'"
    assert {one.effect for one in found.changes} == {"refused"}


def test_a_spec_that_contradicts_itself_is_warned_of(team: Team) -> None:
    team.write(SPEC + "watch: {slow: {ok: 0.9}}\n")
    found = team.plan()
    assert found.ok
    assert f"{FILE}:5: watch.slow.ok: 0.9 is less than 1" in found.changes[0].warnings[0]


def test_a_deleted_spec_is_refused_and_says_how_a_model_is_retired(team: Team) -> None:
    team.write(None)
    found = team.one()
    assert (found.effect, found.error) == ("removed", f"{FILE} was deleted, and card-fraud stays as it is")
    assert "serinus retire card-fraud" in found.hint


def test_a_file_that_is_too_large_cannot_be_read(team: Team) -> None:
    team.write("#" * ((4 << 20) + 1))
    assert "is not a file of at most 4 MiB" in team.one().error
    team.commit()
    assert "is not a file of at most 4 MiB" in team.plan(until="HEAD").changes[0].error


def test_a_link_is_what_git_keeps_of_it(team: Team, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("model: card-fraud\nserving: {timeout: 1s}\n")
    (team.clone / FILE).unlink()
    (team.clone / FILE).symlink_to(secret)
    assert "expected a mapping" in team.one().error
    team.commit()
    assert team.plan().changes == team.plan(until="HEAD").changes


# --- what is live ---------------------------------------------------------------------------------------------


def test_a_revert_of_what_is_live_is_a_rollback(team: Team) -> None:
    git(team.clone, "revert", "--no-edit", "HEAD")
    found = team.one()
    assert (found.effect, found.file, found.error) == ("rollback", LIVE, "")
    assert found.summary == "card-fraud@7 is rolled back to card-fraud-6-abcdef, with all traffic at once."
    assert team.plan(until="HEAD").changes == [found]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: '9'\nrelease: card-fraud-9-abcdef\n", "card-fraud-9-abcdef, which never was live"),
        ("version: '6'\n", "names no release that could be live"),
        ("version: [\n", f"{LIVE}:2 is not YAML"),
    ],
)
def test_what_never_was_live_is_refused(team: Team, text: str, words: str) -> None:
    team.write(text, LIVE)
    found = team.one()
    assert found.effect == "refused"
    assert words in found.error


def test_what_a_person_wrote_was_not_live_because_of_that(team: Team) -> None:
    team.write("version: '9'\nrelease: card-fraud-9-abcdef\n", LIVE)
    since = team.commit()
    team.write("version: '6'\nrelease: card-fraud-6-abcdef\n", LIVE)
    team.commit()
    team.write("version: '9'\nrelease: card-fraud-9-abcdef\n", LIVE)
    assert team.plan(since="HEAD", until=None).changes[0].effect == "refused"
    assert team.plan(since=f"{since}^", until="HEAD").changes[0].effect == "rollback"


@pytest.mark.parametrize("text", [None, "version: '7'\nrelease: card-fraud-7-abcdef\nthreshold: 0.1\n"])
def test_what_is_live_already_is_written_again(team: Team, text: str | None) -> None:
    team.write(text, LIVE)
    found = team.plan()
    assert (found.changes[0].effect, found.ok) == ("rewritten", True)


def test_the_live_release_is_compared_by_the_spec_that_deployed_it(fleet: GitFleet, tmp_path: Path) -> None:
    # This spec was deployed and aborted: card-fraud@7 still answers by the one before.
    fleet.write("card-fraud", SPEC.replace("300ms", "90ms"), who="bob", why="faster")
    team = Team(fleet, tmp_path / "clone")
    team.write(SPEC.replace("300ms", "90ms") + "# again\n")
    found = team.one()
    assert (found.effect, found.fields) == ("release", [])
    assert "The spec before the change is not the one by which card-fraud@7 was deployed." in found.notes
    team.write(SPEC)
    found = team.one()
    assert found.effect == "later"
    assert [one.field for one in found.fields] == ["serving.timeout"]


def test_after_a_rollback_the_spec_of_the_former_release_counts(fleet: GitFleet, tmp_path: Path) -> None:
    fleet.write("card-fraud", SPEC.replace("300ms", "90ms"), who="bob", why="faster")
    fleet.publish("card-fraud", live("8"), who="bob", why="promoted")
    fleet.publish("card-fraud", live("7"), who="bob", why="rolled back")
    team = Team(fleet, tmp_path / "clone")
    team.write(SPEC.replace("300ms", "90ms") + "# again\n")
    assert team.one().effect == "release"


def test_a_scale_that_was_applied_counts_as_the_present_one(fleet: GitFleet, tmp_path: Path) -> None:
    scaled = SPEC.replace("timeout: 300ms", "timeout: 300ms, workers: 4")
    fleet.write("card-fraud", scaled, who="bob", why="more")
    team = Team(fleet, tmp_path / "clone")
    team.write(scaled + "# again\n")
    assert team.one().effect == "nothing"
    team.write(SPEC)
    found = team.one()
    assert found.effect == "scale"


def test_a_spec_of_before_is_said_to_be_one(fleet: GitFleet, tmp_path: Path) -> None:
    first = fleet.history("card-fraud")[-1].commit
    fleet.write("card-fraud", SPEC.replace("300ms", "90ms"), who="bob", why="faster")
    fleet.publish("card-fraud", live("8"), who="bob", why="promoted")
    team = Team(fleet, tmp_path / "clone")
    team.write(SPEC)
    found = team.one()
    assert found.effect == "release"
    assert f"the spec of the commit {first[:10]} again" in found.notes[0]
    team.write(SPEC.replace("300ms", "70ms"))
    assert team.one().notes == []


def test_a_spec_before_that_cannot_be_read_is_said(fleet: GitFleet, tmp_path: Path) -> None:
    fleet.write("merchant", "servng: 1\n", who="bob", why="a mistake")
    fleet.publish("merchant", {"version": "1", "release": "merchant-1-abcdef"}, who="bob", why="promoted")
    team = Team(fleet, tmp_path / "clone")
    team.write("serving: {timeout: 80ms}\n", "models/merchant/model.yaml")
    found = team.one()
    assert (found.effect, found.fields) == ("unknown", [])
    assert "Git does not say by which spec merchant@1 was deployed" in found.summary


# --- which files, which commits -------------------------------------------------------------------------------


def test_the_former_place_of_a_spec_is_read_as_long_as_there_is_no_other(fleet: GitFleet, tmp_path: Path) -> None:
    former = {"models/old.yaml": "serving: {timeout: 300ms}\n"}
    fleet.repository.commit(lambda _: former, "Set the ModelDeployment of old", who="anna")
    fleet.publish("old", {"version": "1", "release": "old-1-abcdef"}, who="anna", why="promoted")
    team = Team(fleet, tmp_path / "clone")
    git(team.clone, "switch", "--quiet", "-c", "moved")
    (team.clone / "models/old").mkdir()
    git(team.clone, "mv", "models/old.yaml", "models/old/model.yaml")
    found = team.one()
    assert (found.file, found.effect) == ("models/old/model.yaml", "nothing")


def test_what_serinus_does_not_read_or_writes_again_is_noted(team: Team) -> None:
    team.write(SPEC, "models/merchant/model.yml")
    team.write("kind: Service\n", "rendered/east/card-fraud/card-fraud-7-abcdef/service.yaml")
    team.write("# notes\n", "README.md")
    found = team.plan()
    assert (found.changes, found.ok) == ([], True)
    rendered, unread = found.notes
    assert rendered.startswith("`rendered/east/card-fraud/card-fraud-7-abcdef`: what people change there holds")
    assert unread.startswith("`models/merchant/model.yml`: not read by Serinus")
    assert "README.md" not in str(found)


def test_a_branch_is_compared_with_where_it_left_and_not_with_what_came_since(team: Team) -> None:
    base = git(team.clone, "rev-parse", "HEAD")
    team.write(SPEC.replace("300ms", "80ms"))
    head = team.commit()
    team.fleet.write("merchant", "serving: {timeout: 1s}\n", who="bob", why="meanwhile")
    git(team.clone, "fetch", "--quiet")
    found = team.plan(until="HEAD")
    assert (found.since, found.until) == (base, head)
    assert [one.file for one in found.changes] == [FILE]


def test_the_working_tree_is_compared_also_from_a_folder_in_it(team: Team) -> None:
    team.write(SPEC.replace("300ms", "80ms"))
    team.commit()
    team.write(SPEC.replace("300ms", "70ms"))
    found = plan(team.clone / "models", since=None, until=None)
    assert found.changes[0].fields[0].after == "70ms"
    assert team.plan(until="HEAD").changes[0].fields[0].after == "80ms"


def test_the_commit_of_a_merge_is_compared_with_its_first_parent(team: Team) -> None:
    team.write(SPEC.replace("300ms", "80ms"))
    team.commit()
    git(team.clone, "switch", "--quiet", "main")
    team.write("serving: {timeout: 1s}\n", "models/merchant/model.yaml")
    team.commit()
    git(team.clone, "merge", "--quiet", "--no-edit", "change")
    assert [one.file for one in team.plan("HEAD^1", "HEAD").changes] == [FILE]


def test_a_bare_repository_has_commits_to_compare_but_no_working_tree(team: Team) -> None:
    path = team.fleet.repository.path
    team.fleet.write("card-fraud", SPEC.replace("300ms", "80ms"), who="bob", why="faster")
    assert plan(path, since="HEAD^", until="HEAD").changes[0].effect == "release"
    with pytest.raises(InvalidInput, match="bare repository"):
        plan(path, since="HEAD^", until=None)


def test_a_shallow_clone_says_that_the_history_is_missing(team: Team, tmp_path: Path) -> None:
    team.write("version: '6'\nrelease: card-fraud-6-abcdef\n", LIVE)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{team.fleet.repository.path}", str(shallow))
    with pytest.raises(InvalidInput, match="knows no revision 'HEAD~1'") as refused:
        plan(shallow, since="HEAD~1", until="HEAD")
    assert "git fetch --unshallow" in refused.value.hint
    (shallow / LIVE).write_text("version: '6'\nrelease: card-fraud-6-abcdef\n")
    (found,) = plan(shallow, since="HEAD", until=None).changes
    assert (found.effect, found.error) == ("unknown", "")


def no_repository(path: Path) -> None:
    path.mkdir()


def without_a_branch(path: Path) -> None:
    git(path.parent, "init", "--quiet", "--initial-branch=trunk", str(path))
    (path / "README.md").write_text("trunk\n")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "-m", "first")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (no_repository, "git finds no checkout"),
        (without_a_branch, "no branch main or master"),
        (Path, "not a directory"),
    ],
)
def test_where_nothing_can_be_compared_it_is_said(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    make(tmp_path / "there")
    with pytest.raises(InvalidInput, match=words):
        plan(tmp_path / "there", since=None, until=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_checkout_of_another_user_is_read_where_the_configuration_trusts_it(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    os.chown(team.clone, 65534, 65534)
    os.chown(team.clone / ".git", 65534, 65534)
    with pytest.raises(InvalidInput, match="dubious ownership") as refused:
        team.plan()
    assert f"safe.directory {team.clone}" in refused.value.hint
    (tmp_path / "gitconfig").write_text(f"[safe]\n\tdirectory = {team.clone}\n")
    assert team.plan().ok


def test_a_directory_in_the_place_of_a_spec_is_refused(team: Team) -> None:
    team.write(None)
    team.write("model: card-fraud\n", f"{FILE}/more.yaml")
    found = team.plan()
    assert [(one.file, one.error != "") for one in found.changes] == [(FILE, True)]
    team.commit()
    assert "not a file of at most 4 MiB" in team.plan(until="HEAD").changes[0].error


@pytest.mark.parametrize("revision", ["nothing", "--all", "HEAD^{tree}", ""])
def test_a_revision_that_is_no_commit_is_said(revision: str, team: Team) -> None:
    with pytest.raises(InvalidInput, match="knows no revision"):
        team.plan(since=revision)


def test_git_is_asked_about_the_checkout_also_from_within_a_hook(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.write(SPEC.replace("300ms", "80ms"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere/index"))
    assert team.one().effect == "release"


def test_nothing_in_the_checkout_is_changed(team: Team) -> None:
    team.write(SPEC.replace("300ms", "80ms"))

    def everything() -> dict[str, tuple[int, int]]:
        files = [path for path in team.clone.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = everything()
    team.plan()
    assert everything() == before
