"""What uv says, and what a data scientist is told. The texts are uv's own, of several versions."""
# ruff: noqa: E501 (as long as uv writes them)

from __future__ import annotations

import pytest

from serinus.backends.uv.words import NoWheel, explain
from serinus.core.errors import Unavailable, Unbuildable

CONFLICT = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because pandas==2.2.0 depends on numpy{python_full_version < '3.11'}>=1.22.4,<2 and you require pandas==2.2.0, we can
      conclude that you require numpy>=1.22.4,<2.
      And because you require numpy==1.20.0, we can conclude that your requirements are unsatisfiable.
"""
NO_WHEEL = """\
error: No solution found when resolving dependencies
  cause: Because pyspark==3.5.0 has no usable wheels and you require pyspark==3.5.0, we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for `pyspark` because building from source is disabled for all packages (i.e., with `--no-build`)
"""
NEWER_PYTHON = """\
error: No solution found when resolving dependencies
  cause: Because the current Python version (3.10.13) does not satisfy Python>=3.11 and numpy==2.3.0 depends on Python>=3.11, we can conclude that numpy==2.3.0 cannot be used.
         And because you require numpy==2.3.0, we can conclude that your requirements are unsatisfiable.
"""
TOO_NEW = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of numpy==2.1.0 and you require numpy==2.1.0, we can conclude that your requirements are unsatisfiable.

hint: `numpy` was filtered by `exclude-newer` to only include packages uploaded before 2023-01-02T00:00:00Z. The requested version, v2.1.0, was published at 2024-08-18T21:39:07.105Z. Consider using `exclude-newer-package` to override the cutoff.
"""
NO_BUILD = """\
error: Failed to build `pysqlite==2.8.3`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta:__legacy__.get_requires_for_build_wheel` failed (exit status: 1)

         [stdout]
         pysqlite is not supported on Python 3.

hint: Build failures usually indicate a problem with the package or the build environment
"""
NO_NETWORK = """\
error: Request failed after 3 retries in 4.7s
  cause: Failed to fetch: `https://somebody:password@packages.example.org/simple/click/`
  cause: client error (Connect)
  cause: dns error
"""
FORBIDDEN = """\
error: Failed to fetch: `https://packages.example.org/simple/click/`
  cause: HTTP status client error (403 Forbidden) for url (https://packages.example.org/simple/click/)
"""
GIT = """\
error: Git operation failed
  cause: failed to clone into: /cache/git-v2/db/36c1e61c0b17d7ac
  cause: process didn't exit successfully: `/usr/bin/git fetch --force 'https://token@example.org/x/y' '+HEAD:refs'` (exit status: 128)
"""
FULL = "error: Failed to write to the distribution cache\n  cause: No space left on device (os error 28)\n"
CHANGED = """\
error: Failed to read `six==1.16.0`
  cause: Hash mismatch for `six==1.16.0`

         Expected:
           sha256:aa
"""


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        (
            CONFLICT,
            Unbuildable,
            "the requirements contradict each other: pandas==2.2.0 depends on numpy>=1.22.4,<2 and the model requires "
            "pandas==2.2.0; the model requires numpy==1.20.0",
        ),
        (NO_WHEEL, NoWheel, "pyspark==3.5.0 has no wheel for this Python and platform"),
        (NEWER_PYTHON, Unbuildable, "numpy==2.3.0 needs Python>=3.11, and the model says 3.10.13"),
        (
            TOO_NEW,
            Unbuildable,
            "numpy==2.1.0 was published on 2024-08-18, after the day that the model says it was logged",
        ),
        (
            NO_BUILD,
            Unbuildable,
            "pysqlite==2.8.3 has no wheel for this Python and platform, and building it from source failed: pysqlite is not "
            "supported on Python 3",
        ),
        (NO_NETWORK, Unavailable, "packages.example.org, where packages come from, does not answer."),
        (FORBIDDEN, Unbuildable, "the package index packages.example.org refuses access (HTTP 403)"),
        (GIT, Unbuildable, "the Git requirement https://example.org/x/y could not be fetched"),
        (FULL, Unavailable, "the disk is full."),
        (CHANGED, Unbuildable, "six==1.16.0 in the package index is not the file that was locked"),
        ("", Unbuildable, "uv failed (1): it said nothing, so it was probably killed"),
        ("warning: odd\nerror: Something new\n  cause: of which nobody knows\n", Unbuildable, "uv failed (1): Something new of which nobody knows"),
    ],
)  # fmt: skip
def test_what_uv_says_is_told_in_few_words(stderr: str, kind: type[Exception], message: str) -> None:
    error = explain(stderr)
    assert type(error) is kind
    assert error.message == message


def test_long_failures_are_cut_in_the_middle() -> None:
    assert len(explain("error: " + "x" * 5000).message) < 450
