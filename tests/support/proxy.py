"""A TCP proxy between a service and Postgres that can lose the answer of a commit: the commit takes effect, nobody is told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

COMMIT = b"COMMIT;"


class CommitAnswerLost:
    """While armed, the next COMMIT is passed on and its connection cut before the answer comes back."""

    def __init__(self, dsn: str) -> None:
        self._parts = urlsplit(dsn)
        self._server: asyncio.Server | None = None
        self.armed = False
        self.lost = 0

    async def start(self) -> str:
        """The DSN that leads through the proxy."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = f"{self._parts.username}:{self._parts.password}@" if self._parts.username else ""
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        cut = asyncio.Event()
        ways = [
            asyncio.create_task(self._pass_on(client_in, server_out, cut, watched=True)),
            asyncio.create_task(self._pass_on(server_in, client_out, cut, watched=False)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        client_out.close()
        await asyncio.sleep(0.3 if cut.is_set() else 0)
        server_out.close()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, cut: asyncio.Event, watched: bool) -> None:
        while data := await source.read(65536):
            if not watched and cut.is_set():
                return
            if watched and self.armed and COMMIT in data:
                self.armed, self.lost = False, self.lost + 1
                cut.set()
            sink.write(data)
            await sink.drain()
