"""The network between a service and the broker: one cable for each service, which can be cut in several ways.

The broker has a listener for each service and advertises the cable's port there, so that a client that went through the cable once stays
on it. The cables live in a thread of their own: whatever the rest of the process does, bytes pass.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Literal

from deploy.embedded.ports import LOOPBACK

Cut = Literal["drop", "mute", "delay", "reset"]
"""
drop    nothing passes, either way; what was sent meanwhile arrives late, as TCP sends it again
mute    questions reach the broker, its answers don't reach the service
delay   every piece waits, each for a time of its own
reset   all connections are reset, and every new one at once
"""
CUTS: tuple[Cut, ...] = ("drop", "mute", "delay", "reset")
PIECE_BYTES = 65_536
LOOK_S = 0.02
DELAY_S = (0.05, 0.8)
"""Least and most that a delayed piece waits."""
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends a reset."""


class Cable:
    """The way of one service to the broker."""

    def __init__(self, port: int, broker: int, dice: random.Random) -> None:
        self.port = port
        self._broker = broker
        self._dice = dice
        self._cut: Cut | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, LOOPBACK, self.port)

    def cut(self, how: Cut) -> None:
        self._cut = how
        if how == "reset":
            self._reset()

    def mend(self, *, reset: bool) -> None:
        """Bytes pass again. With `reset` the connections of before are gone, and what was held in them is lost."""
        if reset:
            self._reset()
        self._cut = None

    def _reset(self) -> None:
        for writer in self._open:
            _abort(writer)

    async def _serve(self, service_in: asyncio.StreamReader, service_out: asyncio.StreamWriter) -> None:
        if self._cut == "reset":
            return _abort(service_out)
        try:
            broker_in, broker_out = await asyncio.open_connection(LOOPBACK, self._broker)
        except OSError:
            return _abort(service_out)
        self._open |= {service_out, broker_out}
        questions = asyncio.create_task(self._pass_on(service_in, broker_out, frozenset({"drop"})))
        answers = asyncio.create_task(self._pass_on(broker_in, service_out, frozenset({"drop", "mute"})))
        try:
            await asyncio.wait({questions, answers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            questions.cancel()
            answers.cancel()
            await asyncio.gather(questions, answers, return_exceptions=True)
            self._open -= {service_out, broker_out}
            service_out.close()
            broker_out.close()

    async def _hold(self, held_by: frozenset[Cut]) -> None:
        """As long as such a cut lasts, or a moment where all are delayed."""
        while self._cut in held_by:  # noqa: ASYNC110 - many wait, each for cuts of its own direction
            await asyncio.sleep(LOOK_S)
        if self._cut == "delay":
            await asyncio.sleep(self._dice.uniform(*DELAY_S))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, held_by: frozenset[Cut]) -> None:
        try:
            while piece := await source.read(PIECE_BYTES):
                await self._hold(held_by)
                sink.write(piece)
                await sink.drain()
        except OSError:
            """One end is gone, so the other one goes too."""


class Cables:
    """All of them; `ways` says by service on which port a cable listens and on which the broker does."""

    def __init__(self, ways: Mapping[str, tuple[int, int]], seed: int) -> None:
        dice = random.Random(f"cables {seed}")
        self._cables = {service: Cable(port, broker, dice) for service, (port, broker) in ways.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cables", daemon=True)
        self._servers: list[asyncio.Server] = []

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def bootstrap(self, service: str) -> str:
        """Where this service finds the broker."""
        return f"{LOOPBACK}:{self._cables[service].port}"

    def cut(self, service: str, how: Cut) -> None:
        self._loop.call_soon_threadsafe(self._cables[service].cut, how)

    def mend(self, service: str, *, reset: bool) -> None:
        cable = self._cables[service]
        self._loop.call_soon_threadsafe(lambda: cable.mend(reset=reset))

    async def _listen(self) -> None:
        self._servers = [await cable.listen() for cable in self._cables.values()]

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close it as a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    writer.transport.abort()
