"""What README and docs/ name is there: verbs, options, files, targets, fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import command_line
import pytest
import yaml

from serinus.spec import load
from serinus.spec.schema import ModelDeployment
from serinus.targets.local.supervisor.settings import Options

if TYPE_CHECKING:
    from tests.docs.conftest import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^ *(?:\$ )?|`)(serinus [^`\n#|&>]*)", re.MULTILINE)


def anchors(page: Page) -> set[str]:
    """As GitHub and GitLab make them of headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(page.prose)}


def commands(page: Page) -> Iterator[list[str]]:
    """The words after `serinus`, of every command at the beginning of a line or in backticks."""
    for text in _COMMAND.findall(page.text.replace("\\\n", " ")):
        words = text.split()[1:]
        while words and words[0] in ("--home", "--server"):
            del words[:2]
        if words and re.fullmatch(r"[a-z]+", words[0]):
            yield words


def test_every_relative_link_leads_somewhere(documents: list[Page]) -> None:
    by_path = {page.path: page for page in documents}
    dead = []
    for page in documents:
        for link in _LINK.findall(page.prose):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            path = (page.path.parent / target).resolve() if target else page.path
            if not path.exists() or (anchor and path in by_path and anchor not in anchors(by_path[path])):
                dead.append(f"{page.name}: {link}")
    assert dead == []


def test_the_index_of_docs_names_every_page(documents: list[Page]) -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text())}
    beside = {page.path for page in documents if page.path.parent == index.parent} - {index}
    assert beside - named == set()


def test_every_verb_is_in_the_readme_or_in_the_command_lines_reference(
    readme: Page, verbs: Mapping[str, frozenset[str]]
) -> None:
    text = readme.text + (ROOT / "docs" / "cli.md").read_text()
    leaves = {verb for verb in verbs if verb and not any(other.startswith(f"{verb} ") for other in verbs)}
    assert len(leaves) >= 20
    assert [verb for verb in sorted(leaves) if f"serinus {verb}" not in text] == []


def test_every_command_in_the_docs_has_the_verb_and_the_options_that_it_shows(
    documents: list[Page], verbs: Mapping[str, frozenset[str]]
) -> None:
    unknown, seen = [], 0
    for page in documents:
        for words in commands(page):
            seen += 1
            unknown += [f"{page.name}: {one}" for one in command_line.unknown(words, verbs)]
    assert unknown == []
    assert seen >= 50


def test_every_make_target_that_the_readme_names_is_there(readme: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ *)(?:[A-Z_]+=\S+ )?make ([a-z-]+)", readme.text, re.MULTILINE))
    assert named >= {"demo", "test", "test-slow", "check"}
    assert named <= targets


def test_every_choice_of_up_is_an_option_that_its_reference_shows() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    up = page.split("## `serinus up`")[1].split("\n## ")[0]
    named = {
        "ports": "api-port",
        "envoy_binary": "envoy",
        "interpreters": "interpreter",
        "indexes": "index",
        "allowed_hosts": "allow-host",
    }
    wanted = [named.get(field.name, field.name.replace("_", "-")) for field in fields(Options)]
    assert [option for option in wanted if f"--{option}" not in up] == []


def test_every_section_of_a_model_deployment_is_in_its_reference() -> None:
    page = (ROOT / "docs" / "model-deployment.md").read_text()
    names = [field.alias or name for name, field in ModelDeployment.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in page] == []


def tree(page: Page) -> set[str]:
    """The folders of the tree under `## The folders`, as paths from the root of the repository.

    A line names one folder or several, each with a slash behind it, and is indented by two blanks a level.
    """
    found: set[str] = set()
    above: list[str] = []
    for line in page.text.split("## The folders")[1].split("\n## ")[0].splitlines():
        if not (said := re.match(r"    ( *)((?:[\w.-]+/)+(?: (?:[\w.-]+/)+)*)(?: |$)", line)):
            continue
        depth = len(said[1]) // 2
        names = [name.rstrip("/") for name in said[2].split()]
        found |= {"/".join([*above[:depth], name]) for name in names}
        above = [*above[:depth], names[0]]
    return found


def packages() -> set[str]:
    """Every directory with modules or other files of its own in the two distributions, as paths from the root."""
    below = [path for source in ("src", "runtime/src") for path in (ROOT / source).rglob("*") if path.is_file()]
    kept = [path.parent for path in below if "__pycache__" not in path.parts and ".egg-info" not in str(path)]
    return {str(path.relative_to(ROOT)) for path in kept}


def test_the_tree_of_folders_names_every_package(documents: list[Page]) -> None:
    (page,) = [page for page in documents if page.name == "docs/how-it-works.md"]
    named = tree(page)
    assert len(named) > 50
    assert sorted(packages() - named) == []


def test_the_tree_of_folders_names_nothing_that_is_not_there(documents: list[Page]) -> None:
    (page,) = [page for page in documents if page.name == "docs/how-it-works.md"]
    assert [name for name in sorted(tree(page)) if not (ROOT / name).is_dir()] == []


def test_every_line_of_the_tree_says_what_the_folder_is_for(documents: list[Page]) -> None:
    (page,) = [page for page in documents if page.name == "docs/how-it-works.md"]
    lines = page.text.split("## The folders")[1].split("\n## ")[0].splitlines()
    folders = [line for line in lines if re.match(r"    .*/(?: |$)", line)]
    assert len(folders) > 50
    assert [line for line in folders if not re.search(r"/ {2,}\S.{12,}", line)] == []


def test_contributing_points_to_the_tree_of_folders(documents: list[Page]) -> None:
    (page,) = [page for page in documents if page.name == "CONTRIBUTING.md"]
    assert "docs/how-it-works.md#the-folders" in page.text


def test_every_model_deployment_that_is_shown_can_be_loaded(documents: list[Page]) -> None:
    shown = [(page.name, block) for page in documents for block in page.blocks("yaml") if "model:" in block]
    assert {name for name, _ in shown} >= {"docs/first-deployment.md", "docs/model-deployment.md"}
    for _, block in shown:
        assert load(block).model == yaml.safe_load(block)["model"]


@pytest.mark.parametrize("name", ["README.md", "docs/first-deployment.md", "docs/prediction-log.md"])
def test_python_in_the_docs_compiles(name: str, documents: list[Page]) -> None:
    page = next(page for page in documents if page.name == name)
    blocks = page.blocks("python") + page.blocks("py")
    assert blocks
    for block in blocks:
        compile(block, name, "exec")


def test_the_licence_is_the_one_that_the_package_declares() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    assert "Apache License" in text
    assert "Copyright 2026 The Serinus authors" in text
