"""A certificate of a private authority, as real TLS connections take it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from serinus.lib.authority import Identity, issue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def connect(identity: Identity, trusting: bytes, name: str, directory: Path) -> str:
    """Makes a TLS connection in memory. The name in the certificate that the caller has seen."""
    chain, key = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(identity.certificate)
    key.write_bytes(identity.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    calling = ssl.create_default_context(cadata=trusting.decode())
    calling.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_caller = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = calling.wrap_bio(to_caller, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_caller, server_side=True)
    for _ in range(4):
        for side in (caller, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    subject = (caller.getpeercert() or {})["subject"]
    return str(subject[0][0][1])  # type: ignore[index]


def test_the_server_is_known_by_its_name_to_who_trusts_the_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    made = issue("serinus-collector", now)
    assert connect(made, made.authority, "serinus-collector", tmp_path) == "serinus-collector"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        connect(made, made.authority, "another", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"signature|unable to get local issuer|self-signed"):
        connect(made, issue("serinus-collector", now).authority, "serinus-collector", tmp_path)


def test_it_is_valid_for_ten_years_and_a_little_before() -> None:
    made = issue("serinus-collector", NOW)
    for pem in (made.authority, made.certificate):
        found = x509.load_pem_x509_certificate(pem)
        assert found.not_valid_before_utc < NOW
        assert found.not_valid_after_utc == NOW + timedelta(days=3650)


def test_the_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(issue("serinus-collector", NOW))
