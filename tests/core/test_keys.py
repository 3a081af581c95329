"""Keys that are derived from the home's secret: the same in every version, as two versions meet in an upgrade."""

from __future__ import annotations

from serinus.core.keys import log_token, router_key, session_key

SECRET = "0123abcd\n"


def test_the_keys_are_those_of_every_version_before() -> None:
    assert log_token(SECRET, "fraud-1-aaaaaa") == ("99e75d90eb7e0f6e6037dbb970c7372cb5061575582debac87d9460b77fdcbc6")
    assert router_key(SECRET, "fraud-1-aaaaaa") == ("b8827f31f8852c5211a43a589df8297a20eac0d5d899e147603e0a8030d49733")
    assert session_key(SECRET).hex() == "15f3f67eeb4f1dd6588f7305b6c532a27645be0f5002efcd90b64163ae3bba9d"


def test_no_key_is_anothers() -> None:
    keys = {
        log_token(SECRET, "a"), log_token(SECRET, "b"), router_key(SECRET, "a"), session_key(SECRET).hex(),
        log_token("another", "a"),
    }  # fmt: skip
    assert len(keys) == 5
