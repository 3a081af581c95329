"""The API on two sockets: a port, with TLS where there is a certificate, and the home's own socket."""

from __future__ import annotations

import asyncio
import socket
import ssl

import uvicorn

_HANDSHAKE_SECONDS = 10.0


class Server(uvicorn.Server):
    """`context`: of the port alone. Whoever connects to `local` is on this machine, and is asked of the kernel."""

    def __init__(
        self, config: uvicorn.Config, port: socket.socket, local: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        super().__init__(config)
        self._port, self._local, self._context = port, local, context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  there are two kinds
        await super().startup(sockets=[self._local])
        self.started = False
        config = self.config

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        seconds = _HANDSHAKE_SECONDS if self._context else None
        server = await asyncio.get_running_loop().create_server(
            protocol, sock=self._port, ssl=self._context, ssl_handshake_timeout=seconds, backlog=config.backlog
        )
        self.servers.append(server)
        self.started = True
