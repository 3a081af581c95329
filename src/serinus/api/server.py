"""The server of the API on two sockets: a port, with TLS where there is a certificate, and the home's own socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import uvicorn

from serinus.lib.servers import handshakes
from serinus.lib.servers.handshakes import Handshakes


class Server(uvicorn.Server):
    """`context` is for the port only. Clients of `local` are on this machine, and the kernel identifies them."""

    def __init__(
        self, config: uvicorn.Config, port: socket.socket, local: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        if context is not None:
            config.loop = "asyncio"  # for `Handshakes`
        super().__init__(config)
        self._port, self._local, self._context = port, local, context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  they are known
        """Starts listening on the port, with TLS if there is a certificate, and on the home's socket."""
        if self._context is None:
            await super().startup(sockets=[self._port, self._local])
            return
        await super().startup(sockets=[self._local])
        self.started = False
        self.servers.append(await self._encrypted(self._context))
        self.started = True

    async def _encrypted(self, context: ssl.SSLContext) -> asyncio.Server:
        config, listener = self.config, Handshakes(self._port)
        plain: Any = config.http_protocol_class

        class Encrypted(plain):  # type: ignore[misc]  # which one it is depends on what is installed
            def connection_made(self, transport: asyncio.Transport) -> None:
                listener.done(transport.get_extra_info("socket").fileno())
                super().connection_made(transport)

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = Encrypted(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        return await asyncio.get_running_loop().create_server(
            protocol,
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=handshakes.SECONDS,
            backlog=config.backlog,
        )
