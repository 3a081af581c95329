"""uv's errors, shortened to what a data scientist can act on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from serinus.core.errors import SerinusError, Unavailable, Unbuildable
from serinus.core.redaction import without_credentials

_LONGEST = 400


class NoWheel(Unbuildable):
    """A package would have to be built from source, which uv itself never does here."""

    package = ""
    """`name`, or the versions that are allowed: `name==1.0`."""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    message: str
    """With the groups of the pattern as {0}, {1}, ..."""
    hint: str = ""
    error: type[SerinusError] = Unbuildable


def _rule(pattern: str, message: str, hint: str = "", error: type[SerinusError] = Unbuildable) -> _Rule:
    return _Rule(re.compile(pattern, re.DOTALL), message, hint, error)


_INDEX = (
    "A package of your own index needs an --extra-index-url line in the model's requirements.txt and "
    "`serinus up --index URL`, or UV_INDEX_URL here."
)

# The first rule that matches is used.
_RULES = (
    _rule(r"No space left on device", "the disk is full.", "Free some space.", Unavailable),
    _rule(
        r"(?:status client error|HTTP status) ?\(?(401|403)[^)]*\)?.*?https?://([^/\s)]+)",
        "the package index {1} refuses access (HTTP {0})",
        "Check the credentials that uv has for it.",
    ),
    _rule(
        r"Git operation failed.*?(?:clone|fetch)[^'`]*['`][^'`]*?(\w+://[^'`\s]+)",
        "the Git requirement {0} could not be fetched",
        "Publish it to a package index, or see that this machine reaches the repository.",
    ),
    _rule(
        r"(?:error sending request|Failed to fetch|dns error|operation timed out|server error).*?https?://([^/\s`)]+)",
        "{0}, where packages come from, does not answer.",
        "Check the network and the index settings of uv.",
        Unavailable,
    ),
    _rule(
        r"Couldn't parse requirement.*?\n(?:cause: )?(.*?)\n(.*?)\n",
        "'{1}' is not a valid requirement",
        "{0}",
    ),
    _rule(
        r"(\S+) was not found in the (?:package registry|provided package locations)",
        "the package index has no package {0}",
        f"Check its spelling. {_INDEX}",
    ),
    _rule(
        r"current Python version \(([\d.]+)\) does not satisfy Python(\S+?),? .*?and (\S+) depends on Python",
        "{2} needs Python{1}, and the model says {0}",
        "Log the model again with compatible versions, or correct its python_env.yaml.",
    ),
    _rule(
        r"Because there (?:is|are) no versions? of (\S+) and you require \S+, we can conclude that your req"
        r".*published at (\d{4}-\d\d-\d\d)",
        "{0} was published on {1}, after the day that the model says it was logged",
    ),
    _rule(
        r"Because there (?:is|are) no versions? of (\S+) and you require \S+, we can conclude that your req",
        "the package index has no {0}",
        f"Pin an existing version. {_INDEX}",
    ),
    _rule(
        r"(\S+) ha(?:s|ve) no (?:usable )?wheels",
        "{0} has no wheel for this Python and platform",
        "Pin a version that has one, or allow that it is built here, confined: `serinus up --allow-builds`.",
        NoWheel,
    ),
    _rule(
        r"Failed to (?:build|download and build) `([^`]+)`(.*)",
        "{0} has no wheel for this Python and platform, and building it from source failed: {1}",
        "Pin a version that has a wheel, or install what its build needs on this machine.",
    ),
    _rule(
        r"Hash-checking is required, but no (?:trusted )?hash\w* (?:was|were) provided for: `([^`]+)`",
        "{0} is needed for this platform, and the lock of the environment does not have it",
        "Add it to the model's requirements, and log the model again.",
    ),
    _rule(
        r"Hash mismatch for `([^`]+)`",
        "{0} in the package index is not the file that was locked",
        "The file was replaced. Find out by whom before you deploy.",
    ),
    _rule(
        r"(Because .*)",
        "the requirements contradict each other: {0}",
        "Log the model again with compatible versions.",
    ),
)


def explain(stderr: str, code: int = 1) -> SerinusError:
    """Returns the error: Unavailable where another attempt may help, otherwise Unbuildable.

    Its message has no full stop, because it is quoted with the other attempts.
    """
    text = _plain(stderr)
    for rule in _RULES:
        if found := rule.pattern.search(text):
            groups = [_shortened(group or "") for group in found.groups()]
            message, hint = rule.message.format(*groups), rule.hint.format(*groups)
            error = rule.error(message, hint=hint)
            if isinstance(error, NoWheel):
                error.package = groups[0]
            return error
    return Unbuildable(f"uv failed ({code}): {_shortened(text) or 'it said nothing, so it was probably killed'}")


def _plain(stderr: str) -> str:
    """Returns the text without uv's drawings and warnings, credentials in URLs, and environment markers in `{}`."""
    lines = (re.sub(r"^[\s×╰─▶├│]*(?:error: )?(?:cause: )?", "", line).rstrip() for line in stderr.splitlines())
    text = "\n".join(line for line in lines if line and not line.startswith("warning:"))
    return re.sub(r"\{[^}]*\}", "", without_credentials(text))


# uv's conclusions follow from its findings and are left out.
_CUTS = (
    (r"\s*hint:.*", ""),
    (r", we can conclude that [^.]*(\.[^\s.][^.]*)*\.?(?=\s|$)", ";"),
    (r"\b(And b|B)ecause ", ""),
    (r"\byou require\b", "the model requires"),
    (r"The build backend returned an error |Call to `[^`]*` failed \([^)]*\) ?|\[std(out|err)\] ?", ""),
)


def _shortened(text: str) -> str:
    """Returns the text as one line with few sentences."""
    text = " ".join(text.split())
    for pattern, replacement in _CUTS:
        text = re.sub(pattern, replacement, text)
    text = text.strip(" ;.:")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
