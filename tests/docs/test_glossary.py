"""Words that people read, held to the glossary: what was once replaced by plain English does not come back."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from serinus.core.disturbance import Cause
from serinus.core.evidence import Verdict
from serinus.core.examination import Outcome
from serinus.core.people import Access
from serinus.core.rollout import Phase
from serinus.spec.schema import ModelDeployment

ROOT = Path(__file__).parents[2]
SOURCES = ("src", "runtime/src")
PAGES = ("README.md", "docs/*.md", "src/serinus/api/page/*.js", "src/serinus/api/page/*.html")

_BANNED = tomllib.loads((Path(__file__).parent / "phrases.toml").read_text())
PHRASES, DOCSTRINGS = _BANNED["phrase"], _BANNED["docstring"]
GLOSSARY = ROOT / "docs" / "glossary.md"
_TERM = re.compile(r"^\| \*\*(.+?)\*\* \| (.+) \|$", re.MULTILINE)
_WORD = re.compile(r"`([a-z-]+)`")
_FIELD = re.compile(r"`([a-z]+)\.([a-z_]+)`")
VALUES: dict[str, type[Enum]] = {
    "phase": Phase,
    "gate": Outcome,
    "judge": Verdict,
    "set aside": Cause,
    "token": Access,
}
"""Term -> the values that its meaning has to list."""


def said(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of a module that is no docstring, with `{}` for what is filled in."""
    tree = ast.parse(path.read_text())
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))  # a docstring, or one behind an attribute
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            silent.update(id(part) for part in ast.walk(node) if part is not node)
            yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def documented(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of a module, including those of attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def texts() -> Iterator[tuple[str, int, str]]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            for line, text in said(path):
                yield str(path.relative_to(ROOT)), line, text
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            for line, text in enumerate(path.read_text().splitlines(), start=1):
                yield str(path.relative_to(ROOT)), line, text


@pytest.fixture(scope="module")
def spoken() -> list[tuple[str, int, str]]:
    found = list(texts())
    assert len(found) > 5_000
    return found


@pytest.fixture(scope="module")
def terms() -> Mapping[str, str]:
    """Term -> its meaning, as docs/glossary.md has them."""
    found = _TERM.findall(GLOSSARY.read_text())
    assert len(found) > 40
    assert len(dict(found)) == len(found), "a term is defined twice"
    return dict(found)


def uses(phrase: Mapping[str, Any], found: list[tuple[str, int, str]]) -> list[str]:
    return [
        f"{where}:{line}: {text.strip()[:120]!r}"
        for where, line, text in found
        if re.search(phrase["pattern"], text) and not where.startswith(tuple(phrase.get("but", ())))
    ]


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: phrase["pattern"])
def test_no_text_uses_a_phrase_that_the_glossary_bans(
    phrase: Mapping[str, Any], spoken: list[tuple[str, int, str]]
) -> None:
    wrong = uses(phrase, spoken)
    assert not wrong, f"write instead: {phrase['instead']}\n" + "\n".join(wrong)


@pytest.fixture(scope="module")
def written() -> list[tuple[str, int, str]]:
    found = [
        (str(path.relative_to(ROOT)), line, text)
        for source in SOURCES
        for path in sorted((ROOT / source).rglob("*.py"))
        for line, text in documented(path)
    ]
    assert len(found) > 3_000
    return found


@pytest.mark.parametrize("phrase", DOCSTRINGS, ids=lambda phrase: phrase["pattern"])
def test_no_docstring_uses_a_phrase_that_the_glossary_bans(
    phrase: Mapping[str, Any], written: list[tuple[str, int, str]]
) -> None:
    wrong = uses(phrase, written)
    assert not wrong, f"write instead: {phrase['instead']}\n" + "\n".join(wrong)


@pytest.mark.parametrize("term", VALUES)
def test_a_term_lists_the_values_that_the_code_has(term: str, terms: Mapping[str, str]) -> None:
    assert set(_WORD.findall(terms[term])) == {value.value for value in VALUES[term]}


def test_the_fields_of_a_spec_that_the_glossary_names_are_there(terms: Mapping[str, str]) -> None:
    named = [pair for meaning in terms.values() for pair in _FIELD.findall(meaning)]
    assert len(named) >= 5
    sections = {name: field.annotation for name, field in ModelDeployment.model_fields.items()}
    missing = [f"{section}.{name}" for section, name in named if name not in sections[section].model_fields]
    assert missing == []


def test_every_term_is_used_beyond_the_glossary(terms: Mapping[str, str], spoken: list[tuple[str, int, str]]) -> None:
    text = " ".join(text for where, _, text in spoken if where != "docs/glossary.md").lower()
    unused = []
    for term in terms:
        first, *rest = map(re.escape, term.lower().split())
        if not re.search(" ".join([rf"\b{first}\w*", *rest]), text):  # `scaled to zero`, too
            unused.append(term)
    assert unused == []


def test_readme_and_the_pages_of_how_it_works_lead_to_the_glossary() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "docs/README.md", "docs/how-it-works.md", "docs/first-deployment.md"):
        assert "glossary.md)" in (ROOT / name).read_text(), name


def test_the_strings_of_a_module_are_found_and_its_docstrings_are_not(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""who asks"""\nx = 1\n"""of x"""\nraise E(f"{x} pickles", hint="Say --yes")\n')
    assert sorted(said(tmp_path / "one.py")) == [(4, "Say --yes"), (4, "{} pickles")]
    assert sorted(documented(tmp_path / "one.py")) == [(1, "who asks"), (3, "of x")]
