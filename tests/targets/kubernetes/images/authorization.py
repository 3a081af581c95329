"""An authorization server for a registry, as Docker's token specification has it: it signs what it is asked for."""

from __future__ import annotations

import base64
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from registries import PASSWORD, USER
from servers import ServerThread

SERVICE, ISSUER = "test-registry", "test-issuer"


class TokenServer:
    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _certificate(self._key)
        bundle = directory / "root.pem"
        bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.asked: list[list[str]] = []
        """The scopes of each request."""
        self.given: list[str] = []
        self.seconds = 300
        self.refresh_token = secrets.token_hex(16)
        self.exchanged = 0
        self._server = ServerThread(ThreadingHTTPServer(("127.0.0.1", 0), _handler(self)))
        self.settings = {
            "realm": f"http://127.0.0.1:{self._server.port}/token",
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(bundle),
        }

    def token(self, scopes: list[str]) -> str:
        self.asked.append(scopes)
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "nbf": now - 300, "iat": now - 300, "exp": now + self.seconds,
            "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_packed(json.dumps(header).encode())}.{_packed(json.dumps(claims).encode())}"
        token = f"{signed}.{_packed(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
        self.given.append(token)
        return token

    def close(self) -> None:
        self._server.close()


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("authorization") != f"Basic {wanted}":
                self._answer(401, {})
                return
            query = parse_qs(urlsplit(self.path).query)
            assert query["service"] == [SERVICE]
            self._answer(200, {"token": server.token(query["scope"]), "expires_in": max(server.seconds, 60)})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            if form.get("refresh_token") != [server.refresh_token] or form["grant_type"] != ["refresh_token"]:
                self._answer(401, {})
                return
            server.exchanged += 1
            self._answer(200, {"access_token": server.token(form["scope"][0].split())})

        def _answer(self, status: int, document: dict[str, object]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
