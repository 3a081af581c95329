"""The verbs `serinus backup` and `serinus restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.session import Session


def backup(
    at: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The file to write the backup to.")],
) -> None:
    """Save the home into one file, while it runs.

    The file holds secrets: tokens, the keys of callers, TLS keys. Only its owner may read it. Environments of models
    are left out; `serinus restore` builds them again.

    \b
      serinus backup /mnt/backups/serinus-monday
    """
    from serinus.wiring.backup import save

    saved = save(at.home, file.absolute())
    if at.out.as_json:
        at.out.json({"file": str(saved.path), "files": saved.files, "bytes": saved.size})
        return
    at.out.line(f"{saved.path}: {saved.files} files of {at.home.path}, {saved.size / 1e6:.1f} MB.")


def restore(
    at: Session,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", show_default=False, help="A file that `serinus backup` has written."),
    ] = None,
) -> None:
    """Restore a home from a backup, and build the environments of the models that are in use.

    The home must be empty or not exist yet. `serinus up` starts it. Without FILE, the environments that are
    missing in the home are built.

    \b
      serinus restore /mnt/backups/serinus-monday --home /srv/serinus
      serinus up --home /srv/serinus
    """
    from serinus.core.errors import Unavailable
    from serinus.wiring.backup import build_environments
    from serinus.wiring.backup import restore as restored

    say = (lambda _line: None) if at.out.as_json else at.out.line
    if file is not None:
        manifest = restored(file.absolute(), at.home)
        say(f"{at.home.path}: {len(manifest.files)} files of {manifest.taken_at}.")
    troubles = build_environments(at.home, say)
    if troubles:
        raise Unavailable(
            f"the home is restored, but {'; '.join(troubles)}",
            hint=f"`serinus restore --home {at.home.path}` builds what is missing.",
        )
    if at.out.as_json:
        at.out.json({"home": str(at.home.path)})
        return
    at.out.line(f"Start it: `serinus up --home {at.home.path}`.")
