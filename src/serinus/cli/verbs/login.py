"""The verb `serinus login`."""

from __future__ import annotations

from serinus.cli.session import Session


def login(at: Session) -> None:
    """Print a link to the status page. It signs in one browser, once, within an hour.

    The browser is signed in with the token that the command line uses: the home's own, or SERINUS_TOKEN.

    \b
      serinus login
    """
    address = link(at)
    at.out.json({"login": address}) if at.out.as_json else at.out.line(address)


def link(at: Session) -> str:
    """Returns a new link."""
    from serinus.cli.answers import read
    from serinus.resources import LoginCode

    code = read(LoginCode, at.client.post("/v1/session/links", {})).code
    # The code is in the fragment, which browsers do not send, so that it does not appear in logs.
    return f"{at.client.base}/login#code={code}"
