"""The verb `serinus down`."""

from __future__ import annotations

from serinus.cli.session import Session


def down(at: Session) -> None:
    """Stop everything. Requests in flight are finished and no record is lost.

    Rollouts in flight continue after the next `serinus up`.

    \b
      serinus down
    """
    from serinus.targets.local.supervisor import down as stop

    say = (lambda _line: None) if at.out.as_json else at.out.line
    stopped = stop(at.home, say)
    if at.out.as_json:
        at.out.json({"stopped": stopped})
        return
    at.out.line("Serinus is stopped." if stopped else "Serinus was not running.")
