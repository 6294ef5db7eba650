"""Servers as companies run them: Kafka with logins and TLS, Postgres reached through TLS only.

The embedded Postgres is built without TLS; a proxy before it speaks TLS, as poolers and load balancers do. What a client sees is Postgres'
own protocol: it asks for encryption, is told `S`, shakes hands; who doesn't ask is turned away as by `hostssl` in pg_hba.conf.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from deploy.embedded import Embedded
from deploy.embedded.kafka import Kafka
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.postgres import Postgres
from shared.settings import Settings
from tests.support.certificates import Files, write_files
from tests.support.infra import temporary_home

USER, PASSWORD = "oms", "s3cret of:the/oms@%"
MECHANISM = "SCRAM-SHA-512"
ASKS_FOR_TLS = bytes.fromhex("0000000804d2162f")
UNENCRYPTED = b"SFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"


class SecuredKafka(Kafka):
    """The embedded broker with two listeners more: `login` (TLS, then PLAIN or SCRAM) and `mutual` (TLS, the client's certificate too)."""

    ports: tuple[str, ...] = ("broker", "controller", "login", "mutual")
    format_with = (f"--add-scram={MECHANISM}=[name={USER},password={PASSWORD}]",)

    def __init__(self, home: Path, settings: Settings, files: Files) -> None:
        super().__init__(home, settings.cache, settings.maven)
        self._files = files

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        """The embedded broker's own, and how the two listeners more ask who one is."""
        listens, advertises, quorum = super().addresses(ports)
        more = f",LOGIN://{LOOPBACK}:{ports['login']},MUTUAL://{LOOPBACK}:{ports['mutual']}"
        security, login = "org.apache.kafka.common.security", "listener.name.login"
        plain = f'{security}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        return (
            listens + more,
            advertises + more,
            quorum,
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,MUTUAL:SSL",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self._files.server}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self._files.authority}",
            "listener.name.mutual.ssl.client.auth=required",
            f"{login}.sasl.enabled.mechanisms=PLAIN,{MECHANISM}",
            f"{login}.plain.sasl.jaas.config={plain}",
            f"{login}.{MECHANISM.lower()}.sasl.jaas.config={security}.scram.ScramLoginModule required;",
        )


class SecuredServers(Embedded):
    """That broker, and the embedded Postgres."""

    def __init__(self, home: Path, settings: Settings, files: Files) -> None:
        super().__init__(home, cache=settings.cache, mirror=settings.maven)
        self.kafka = SecuredKafka(self.home, settings, files)
        self._servers = (self.kafka, Postgres(self.home))

    def listener(self, name: str) -> str:
        """Bootstrap servers of one listener."""
        return f"{LOOPBACK}:{self._state().of(self.kafka.name).ports[name]}"


class TlsBeforePostgres:
    """Speaks TLS to clients, and plainly to the server behind it; in a thread of its own, so that any process can use it."""

    def __init__(self, dsn: str, files: Files) -> None:
        self._behind = urlsplit(dsn)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.server)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="TLS before Postgres", daemon=True)

    def start(self) -> str:
        """The DSN that leads through it, without any parameter."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, LOOPBACK, 0), self._loop).result()
        return urlunsplit(_at_port(self._behind, self._server.sockets[0].getsockname()[1]))

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end_all(self) -> None:
        self._server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            if await client_in.readexactly(len(ASKS_FOR_TLS)) == ASKS_FOR_TLS:
                client_out.write(b"S")
                await client_out.start_tls(self._context)
                await self._join(client_in, client_out)
            else:
                client_out.write(b"E" + (len(UNENCRYPTED) + 4).to_bytes(4) + UNENCRYPTED)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            """Whoever doesn't like our certificate hangs up."""
        finally:
            client_out.close()

    async def _join(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection(self._behind.hostname, self._behind.port)
        ways = [asyncio.create_task(_pass_on(client_in, server_out)), asyncio.create_task(_pass_on(server_in, client_out))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server_out.close()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


def _at_port(parts: SplitResult, port: int) -> SplitResult:
    return parts._replace(netloc=f"{parts.username}:{parts.password}@{LOOPBACK}:{port}", query="")


@dataclass(frozen=True, slots=True)
class Secured:
    """Where the secured servers are, and the files that open them."""

    login: str
    mutual: str
    """Bootstrap servers of the two listeners."""
    postgres: str
    files: Files


@contextmanager
def secured_servers(settings: Settings, folder: Path) -> Iterator[Secured]:
    """Both servers, in a home that is deleted at the end; the PEM files are in `folder`."""
    files = write_files(folder)
    with temporary_home(settings) as home:
        servers = SecuredServers(home, settings, files)
        proxy = TlsBeforePostgres(servers.start().postgres, files)
        try:
            yield Secured(servers.listener("login"), servers.listener("mutual"), proxy.start(), files)
        finally:
            proxy.stop()
            servers.leave()
