"""Credentials of registries: where they are read, to whom they are sent, and that nobody else sees them."""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import registries
from authorization import TokenServer
from registries import PASSWORD, USER

from serinus.core.errors import Unavailable
from serinus.targets.kubernetes.images.registry import DockerConfig, Registry, digest_of

REPOSITORY = "team/models/card-fraud"


def config(directory: Path, **entries: Any) -> DockerConfig:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(entries))
    return DockerConfig(directory)


def encoded(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def helper(directory: Path, name: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program `docker-credential-<name>` on the PATH."""
    directory.mkdir(exist_ok=True)
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that asks for a name and a password."""
    directory = tmp_path_factory.mktemp("basic")
    (directory / "htpasswd").write_text(registries.HTPASSWD)
    auth = {"htpasswd": {"realm": "serinus", "path": str(directory / "htpasswd")}}
    with registries.serving(directory, auth=auth) as host:
        yield host


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TokenServer]]:
    """A registry that takes tokens, and who gives them."""
    directory = tmp_path_factory.mktemp("tokens")
    server = TokenServer(directory)
    try:
        with registries.serving(directory, auth={"token": server.settings}) as host:
            yield host, server
    finally:
        server.close()


def test_a_password_in_the_configuration_lets_us_in(basic: str, tmp_path: Path) -> None:
    client = Registry(basic, config(tmp_path, auths={basic: encoded()}))
    assert client.push_bytes(REPOSITORY, b"content") == digest_of(b"content")
    assert client.has_blob(REPOSITORY, digest_of(b"content"))


@pytest.mark.parametrize(
    "entries", [{}, {"auths": {"other.example": encoded()}}, {"auths": {"HOST": encoded(password="wrong")}}]
)
def test_who_has_no_right_password_is_told_what_to_do(basic: str, tmp_path: Path, entries: dict[str, Any]) -> None:
    named = json.loads(json.dumps(entries).replace("HOST", basic))
    with pytest.raises(Unavailable, match=f"{basic} does not accept the credentials for {basic}/{REPOSITORY}") as told:
        Registry(basic, config(tmp_path, **named)).push_bytes(REPOSITORY, b"content")
    assert f"`docker login {basic}`" in told.value.hint
    assert "wrong" not in str(told.value)


def test_a_credential_helper_is_asked(basic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps({"ServerURL": basic, "Username": USER, "Secret": PASSWORD})
    helper(tmp_path / "bin", "ours", f"[ $1 = get ] && [ $(cat) = {basic} ] && echo '{answer}'", monkeypatch)
    for named in ({"credHelpers": {basic: "ours"}}, {"credsStore": "ours"}):
        client = Registry(basic, config(tmp_path, **named, auths={basic: {}}))
        client.push_bytes(REPOSITORY, b"content")


def test_a_helper_that_has_nothing_leaves_it_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path / "bin", "empty", "echo credentials not found in native keychain; exit 1", monkeypatch)
    login = config(tmp_path, credsStore="empty", auths={"r.example": encoded("me", "mine")}).of("r.example")
    assert login is not None
    assert (login.username, login.secret) == ("me", "mine")
    assert "mine" not in repr(login)


@pytest.mark.parametrize(
    ("body", "words"), [("exit 3", "exited with 3"), ("echo no", "not what Docker's protocol says")]
)
def test_a_helper_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str) -> None:
    helper(tmp_path / "bin", "broken", body, monkeypatch)
    with pytest.raises(Unavailable, match=f"docker-credential-broken, .*{words}"):
        config(tmp_path, credsStore="broken").of("r.example")
    with pytest.raises(Unavailable, match=r"docker-credential-absent, .* it cannot be started"):
        config(tmp_path, credsStore="absent").of("r.example")
    with pytest.raises(Unavailable, match="its name is not valid"):
        config(tmp_path, credsStore="../bin/x").of("r.example")


@pytest.mark.parametrize(
    ("name", "registry"),
    [("https://r.example/v1/", "r.example"), ("r.example:5000", "r.example:5000"),
     ("https://index.docker.io/v1/", "docker.io")],
)  # fmt: skip
def test_a_registry_is_found_by_every_name_that_docker_writes(tmp_path: Path, name: str, registry: str) -> None:
    login = config(tmp_path, auths={name: encoded("me", "mine:too")}).of(registry)
    assert login is not None
    assert (login.username, login.secret, login.identity) == ("me", "mine:too", False)


def test_the_configuration_is_where_docker_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config(tmp_path / "named", auths={"r.example": encoded("named", "x")})
    config(tmp_path / "home" / ".docker", auths={"r.example": encoded("home", "x")})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    found = [DockerConfig().of("r.example")]
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "named"))
    found.append(DockerConfig().of("r.example"))
    assert [one.username for one in found if one] == ["home", "named"]


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r.example": {"auth": "%"}}}'])
def test_a_configuration_that_is_none_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Unavailable, match=r"The credentials of registries in .*config\.json cannot be read"):
        DockerConfig(tmp_path).of("r.example")


def test_tokens_are_got_for_what_is_done_and_kept(tokens: tuple[str, TokenServer], tmp_path: Path) -> None:
    host, server = tokens
    server.asked.clear()
    client = Registry(host, config(tmp_path, auths={host: encoded()}))
    for content in (b"one", b"two", b"three"):
        client.push_bytes(REPOSITORY, content)
    # First to read, then to write as well: for each the registry says which scope it wants.
    name = f"repository:{REPOSITORY}"
    assert [set(map(split, scopes)) for scopes in server.asked] == [{(name, ("pull",))}, {(name, ("pull", "push"))}]


def test_a_mount_is_authorized_for_both_repositories(tokens: tuple[str, TokenServer], tmp_path: Path) -> None:
    host, server = tokens
    client = Registry(host, config(tmp_path, auths={host: encoded()}))
    digest = client.push_bytes("team/layers", b"shared")
    server.asked.clear()
    assert client.mount(REPOSITORY, digest, "team/layers")
    wanted = {(f"repository:{REPOSITORY}", ("pull", "push")), ("repository:team/layers", ("pull",))}
    assert any(wanted <= set(map(split, scopes)) for scopes in server.asked)


def split(scope: str) -> tuple[str, tuple[str, ...]]:
    """Of a scope, which names its actions in any order."""
    name, _, actions = scope.rpartition(":")
    return name, tuple(sorted(actions.split(",")))


def test_an_identity_token_is_exchanged(tokens: tuple[str, TokenServer], tmp_path: Path) -> None:
    host, server = tokens
    entry = {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": server.refresh_token}
    Registry(host, config(tmp_path, auths={host: entry})).push_bytes(REPOSITORY, b"by identity")
    assert server.exchanged


def test_a_token_that_has_expired_is_replaced(tokens: tuple[str, TokenServer], tmp_path: Path) -> None:
    host, server = tokens
    client = Registry(host, config(tmp_path, auths={host: encoded()}))
    server.seconds = -120  # the registry refuses it at once
    with pytest.raises(Unavailable, match="does not accept the credentials"):
        client.push_bytes(REPOSITORY, b"expired")
    server.seconds = 300
    client.push_bytes(REPOSITORY, b"expired")


def test_credentials_are_sent_to_the_registry_alone(tmp_path: Path) -> None:
    """An upload, and a download, that the registry has elsewhere."""
    from registries import Proxy

    elsewhere, registry = Proxy("127.0.0.1:1"), Proxy("127.0.0.1:1")
    seen: list[set[str]] = []
    asked: list[set[str]] = []
    elsewhere.answer = lambda method, path: (201 if method == "PUT" else 200, {}, b"content")
    elsewhere.saw = seen.append
    there = f"http://{elsewhere.host}/store"

    def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        if method == "HEAD":
            return 404, {}, b""
        if method == "POST":
            return 202, {"Location": there}, b""
        return 307, {"Location": there}, b""

    registry.answer = answer
    registry.challenge = "Basic realm=x"
    registry.saw = asked.append
    try:
        client = Registry(registry.host, config(tmp_path, auths={registry.host: encoded()}))
        client.push_bytes(REPOSITORY, b"content")
        assert client.content(REPOSITORY, digest_of(b"content")) == b"content"
    finally:
        registry.close()
        elsewhere.close()
    assert any("authorization" in headers for headers in asked)
    assert len(seen) == 2
    assert not [headers for headers in seen if "authorization" in headers]


def test_no_log_holds_a_password_or_a_token(
    tokens: tuple[str, TokenServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host, server = tokens
    caplog.set_level(logging.DEBUG)
    Registry(host, config(tmp_path, auths={host: encoded()})).push_bytes(REPOSITORY, b"logged")
    assert caplog.text
    for secret in (PASSWORD, encoded()["auth"], *server.given):
        assert secret not in caplog.text


@pytest.mark.parametrize("realm", ["", "ftp://x.example", "file:///etc/passwd"])
def test_an_authorization_server_that_cannot_be_asked_over_tls_gets_nothing(tmp_path: Path, realm: str) -> None:
    from registries import Proxy

    registry = Proxy("127.0.0.1:1")
    registry.challenge = f'Bearer realm="{realm}",service="x",scope="y"'
    try:
        client = Registry(registry.host, config(tmp_path, auths={registry.host: encoded()}))
        with pytest.raises(Unavailable, match="names no authorization server that can be asked over TLS"):
            client.has_blob(REPOSITORY, digest_of(b"x"))
    finally:
        registry.close()
