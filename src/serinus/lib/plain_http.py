"""Clients of plain HTTP on this machine."""

from __future__ import annotations

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The TLS context of clients that speak plain HTTP alone. It trusts nobody.

Without it, httpx reads all certificate authorities of the machine for each client. That takes about 20 ms of processor
time, and fails where SSL_CERT_FILE names no file.
"""
