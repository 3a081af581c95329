"""The start of processes with a model's code: by the model's interpreter, without access to Serinus' own files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import serinus_runtime

from serinus.core.home import ENVIRONMENT_FACTS, Home
from serinus.lib import directories, isolated


def base(python: Path) -> Path:
    """Returns the interpreter that is started for `python`.

    For an environment of Serinus it is the one of the installation, which was recorded when the environment was built.
    Otherwise it is `python` itself. Nothing of the environment is read before the confinement. Raises OSError where
    there is none.
    """
    facts = root(python) / ENVIRONMENT_FACTS
    try:
        descriptor = os.open(facts, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return python
    with os.fdopen(descriptor) as file:
        recorded = json.load(file).get("interpreter")
    # Environments of earlier versions have no record. Packages contain no links, so this one is uv's.
    found = Path(recorded) if recorded else python.resolve()
    if found.is_relative_to(root(python).resolve()):
        raise OSError(
            errno.EPERM, "its environment has an interpreter of its own; deploy the version again", str(python)
        )
    return found


def root(python: Path) -> Path:
    """Returns the directory of the environment with the interpreter `python`."""
    return python.absolute().parent.parent


def command(python: Path, runtime: Path, module: str, *arguments: str) -> list[str]:
    """Returns the command that runs `serinus_runtime.<module>` from the staged `runtime` in the environment of
    `python`, whatever is installed there. Raises OSError where it has no interpreter.

    Python runs isolated (`-I`) and without `site` (`-S`), because `.pth` files of the model's packages are code, which
    must not run before the confinement. It is unbuffered (`-u`) and uses `faulthandler`, so that the log has the
    model's last output.
    """
    started = base(python)
    inside = None if started == python else python
    return isolated.command(
        started, runtime, f"serinus_runtime.{module}", *arguments, python=inside, flags=("-u", "-X", "faulthandler")
    )


def holder_command(home: Home) -> list[str]:
    """Returns the command of the holder. It is run as a script, because importing its package would take five times the
    memory."""
    file = Path(__file__).with_name("holder.py")
    return [sys.executable, "-I", str(file), "--socket", str(home.holder_socket), "--secret", str(home.secret)]


def runtime_source() -> Path:
    """Returns the directory from which this process would import `serinus_runtime`."""
    return Path(str(serinus_runtime.__file__)).parent.parent


def stage(home: Home, source: Path) -> Path:
    """Returns a directory with a copy of the `serinus_runtime` in `source`, and nothing else.

    `source` may be a whole site-packages, which models must not see. Another version may be installed there while
    workers of this one still read their code.
    """
    package = source.resolve() / "serinus_runtime"
    kept = home.host / "runtime"
    staged = kept / digest_of(package)
    if not (staged / package.name).is_dir():
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)

        # Host and control plane may do this at the same time. File times are copied, because Python compares those of
        # compiled modules with their sources.
        with directories.appearing(staged) as new:
            shutil.copytree(package, new / package.name, ignore=shutil.ignore_patterns("*.pyc.*"))
        _forget_old(kept)
    return staged


_UNFINISHED = "."
_COPIES = 3


def _forget_old(kept: Path) -> None:
    """Removes all copies except the newest ones, which workers of the former host may still run."""
    copies = [path for path in kept.iterdir() if not path.name.startswith(_UNFINISHED)]
    for old in sorted(copies, key=lambda path: path.lstat().st_mtime, reverse=True)[_COPIES:]:
        shutil.rmtree(old, ignore_errors=True)


def digest_of(package: Path) -> str:
    """Returns the digest of the package's code."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def code(runtime: Path) -> tuple[Path, Path]:
    """Returns the parts of a staged `runtime` that must be readable: its directory, and the package to which it
    leads."""
    return runtime, (runtime / "serinus_runtime").resolve()


def confined(home: Home) -> bool:
    """Whether models are confined: always, unless the home's settings say otherwise."""
    try:
        return json.loads(home.settings.read_text()).get("confined") is not False
    except FileNotFoundError:
        return True
