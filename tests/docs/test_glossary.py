"""Words that people read, held to the glossary: what was once replaced by plain English does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("src", "runtime/src")
PAGES = ("README.md", "docs/*.md", "src/serinus/api/page/*.js", "src/serinus/api/page/*.html")

BANNED = {
    r"of the requirements is none": "'X' is not a valid requirement",
    r"when it was logged: it loads|versions: it loads": "package versions of DATE, when ...: the model loads",
    r"cannot be told\b|can be told yet|than can be told": "cannot be estimated yet",
    r"\bis out \(|\bstopped \(|\bis stopped: ": "aborted, because ...",
    r"\bwas stopped in \b|stopped at the gate|stopped by the judge": "aborted",
    r"\bwho asks\b(?! for one)|\bwho asked\b|who approves is": "the requester; must be approved by another person",
    r"asked for (?:by|as) (?:\{\}|alias|an alias|somebody)": "requested by, requested as",
    r"interval \S+ to any\b|ratio infinite": "at least X with 95% confidence",
    r"Nobody can be asked": "there is no terminal to ask on",
    r"\bSay --": "Confirm it with --yes, or: Use --force",
    r"\bWay\b:|\"Way\"": "Served by",
    r"nothing speaks against|not yet shown": "no metric is shown to be worse than tolerated",
    r"gathering evidence": "collecting evidence",
    r"counts cannot be true": "the counts are inconsistent",
    r"where \S+ were asked for|as it was asked for": "instead of the configured",
    r"\b(?:decide|answered|scored) otherwise\b": "differently from",
    r"another score\b": "a different score",
    r"recall says nothing": "recall cannot be measured",
    r"goes on without you": "continues in the background",
    r"is on its way as": "is being deployed as",
    r"does worse than before its": "has degraded since",
    r"\b1 (?:pickles|requests|rows|seconds|minutes|hours|days|models|versions|warnings|files)\b": "the singular",
    r"[0-9}] %(?![\w(])": "5%, without a blank",
}
"""Pattern -> what to write instead."""
ALLOWED = {
    "docs/judge.md", "docs/performance.md", "docs/prediction-log.md",
}  # fmt: skip
"""Pages in which a percentage may have a blank before its sign: they are written anew with what they describe."""
PERCENT = r"[0-9}] %(?![\w(])"


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


@pytest.mark.parametrize("pattern", BANNED)
def test_no_text_uses_a_phrase_that_the_glossary_bans(pattern: str, spoken: list[tuple[str, int, str]]) -> None:
    wrong = [
        f"{where}:{line}: {text.strip()[:120]!r}"
        for where, line, text in spoken
        if re.search(pattern, text) and not (pattern == PERCENT and where in ALLOWED)
    ]
    assert not wrong, f"write instead: {BANNED[pattern]}\n" + "\n".join(wrong)


def test_the_strings_of_a_module_are_found_and_its_docstrings_are_not(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""who asks"""\nx = 1\n"""of x"""\nraise E(f"{x} pickles", hint="Say --yes")\n')
    assert sorted(said(tmp_path / "one.py")) == [(4, "Say --yes"), (4, "{} pickles")]
