from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(version: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "release_notes.py"), version],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "runtime/pyproject.toml", "scripts/version.py", "scripts/release_notes.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    subprocess.run([sys.executable, str(tmp_path / "scripts" / "version.py"), "1.2.3"], check=True)
    text = "# Changelog\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- One.\n\n## [1.2.2] - 2026-11-01\n\n- Before.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    return tmp_path


def test_the_notes_are_the_versions_own_section(checkout: Path) -> None:
    assert run("1.2.3", checkout).stdout == "### Added\n\n- One.\n"


def test_a_tag_that_is_not_the_version_is_refused(checkout: Path) -> None:
    done = run("1.2.4", checkout)
    assert done.returncode == 1
    assert "the version is 1.2.3, not 1.2.4" in done.stderr


def test_a_version_without_a_section_is_refused(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- Something.\n")
    done = run("1.2.3", checkout)
    assert done.returncode == 1
    assert "no section" in done.stderr
