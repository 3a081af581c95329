"""The control group of the lab, with files as the kernel has them; test_lab_lifecycle.py has those of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterlab import LabError, cgroups
from clusterlab.place import CGROUP


def test_in_version_2_the_controllers_that_are_there_are_handed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids misc\n")
    cgroups.make()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"
    (tmp_path / CGROUP / "kubepods" / "pod1").mkdir(parents=True)
    cgroups.remove()
    assert not (tmp_path / CGROUP).exists()


def test_in_version_1_it_is_in_each_hierarchy_and_has_the_processors_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_hierarchies", lambda: iter([tmp_path / "cpuset", tmp_path / "memory"]))
    for name in ("cpuset", "memory"):
        (tmp_path / name / CGROUP).mkdir(parents=True)
    for name, value in (("cpuset.cpus", "0-1"), ("cpuset.mems", "0")):
        (tmp_path / "cpuset" / name).write_text(value)
        (tmp_path / "cpuset" / CGROUP / name).write_text("")  # as the kernel makes them
    cgroups.make()
    assert (tmp_path / "cpuset" / CGROUP / "cpuset.cpus").read_text() == "0-1"
    assert (tmp_path / "cpuset" / CGROUP / "cpuset.mems").read_text() == "0"
    assert (tmp_path / "memory" / CGROUP).is_dir()


def test_a_group_that_stays_in_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "_SECONDS", 0.1)
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / CGROUP).mkdir()
    (tmp_path / CGROUP / "held").touch()  # a directory with it cannot be removed, as one with processes
    with pytest.raises(LabError, match="is still in use"):
        cgroups.remove()
