"""Snapshots of a view: what a replica has read of whole topics, kept so that its next start reads on instead of reading everything.

A snapshot is a cache and nothing else. It says how far each partition was read, what it came to (see contents.py), and what the view
holds, in this order. It is made piece by piece while documents arrive, and yet right: whatever is newer in a later piece than in an earlier
one stands behind the places that were noted first, is read again, and counts by its version. So nothing may be in the contents that is not
in the view: a document known there and missing here would be passed over for ever. And documents count by their own keys only: where one
came under another key, no snapshot is made.

In any doubt it is thrown away and everything is read: another format, service, document type or set of partitions; a topic that has lost
records at either end, or is another one (among what should have been read something was appended later); too old for the log to tell still
of every deletion since.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec import Struct, msgpack
from structlog.typing import FilteringBoundLogger

from schemas.topics import Topic
from shared.kernel.contents import Contents
from shared.kernel.model import Service
from shared.kernel.pictures import Pictures, Place
from shared.kernel.ports import Clock, Shelf, TopicPartition, Topics, Transient

FORMAT = 1
"""Another number wherever the same bytes mean something else."""
LOOK_S = 60.0
"""How often to see whether a new one is due."""
ENOUGH, LEAST = 0.25, 1000
"""Records read since the last one that are worth a new one: as a share of all documents, and at least."""
SELDOM_S = 86_400.0
"""After so long there is a new one, however little was read: an old one counts no more."""
PAUSE_S = 0.01
"""Between two pieces, which take a millisecond or two."""
VIEW = -1


class Unfit(Exception):
    """A snapshot that can't be trusted here and now. Remedy: none is needed, everything is read."""


class _Head(Struct, array_like=True):
    """The first piece."""

    format: int
    service: str
    language: str
    """Digest of the contracts of all documents in it."""
    read_ms: int
    """When the log was asked last, milliseconds since the epoch."""
    places: list[tuple[str, int, Place]]


class _Piece(Struct, array_like=True):
    """Any other piece: of a partition's contents, or of the view."""

    of: int
    """Index among the places, or VIEW."""
    data: bytes


class Draft(NamedTuple):
    """A snapshot as it was loaded."""

    view: Any
    contents: Mapping[TopicPartition, Contents]
    places: Mapping[TopicPartition, Place]


_pack = msgpack.Encoder().encode
_head, _piece = msgpack.Decoder(_Head), msgpack.Decoder(_Piece)


class Snapshots:
    """Loads the snapshot of one replica's view at its start, and makes new ones while it works."""

    def __init__(
        self, service: Service[Any], pictures: Pictures, topics: Topics, shelf: Shelf, clock: Clock, log: FilteringBoundLogger,
        look_s: float = LOOK_S, least: int = LEAST, pause_s: float = PAUSE_S,
    ) -> None:  # fmt: skip
        self.stopping = False
        self.loaded = 0
        """Documents that a snapshot brought."""
        self.made = 0
        self._service = service
        self._pictures = pictures
        self._topics = topics
        self._shelf = shelf
        self._clock = clock
        self._log = log
        self._look_s = look_s
        self._least = least
        self._pause_s = pause_s
        self._records = 0
        """How many had been read when the last one was begun."""
        self._made_s = clock.now_s()

    # ---- loading ----

    async def load(self) -> None:
        """Into pictures that have read nothing yet. Raises Transient."""
        try:
            draft = await self._draft()
        except Transient:
            raise
        except Exception as error:  # noqa: BLE001 - no cache keeps a service from starting, whatever is in it
            await self._shelf.clear()
            self._log.warning("view snapshot refused", action="read_everything", error=f"{type(error).__name__}: {error}"[:300])
            return
        if draft is None:
            self._log.info("no view snapshot", action="read_everything")
            return
        self._pictures.begin_with(draft.view, draft.contents, draft.places)
        self.loaded = self._pictures.documents()
        self._log.info("view snapshot loaded", action="read_on", documents=self.loaded)

    async def _draft(self) -> Draft | None:
        pieces = await self._shelf.read()
        if pieces is None:
            return None
        head = _head.decode(next(pieces, b""))
        await self._check(head)
        at = [TopicPartition(topic, partition) for topic, partition, _ in head.places]
        draft = Draft(self._service.view(), {one: Contents() for one in at}, {TopicPartition(t, p): place for t, p, place in head.places})
        for raw in pieces:
            piece = _piece.decode(raw)
            (draft.view if piece.of == VIEW else draft.contents[at[piece.of]]).load(piece.data)
            await self._clock.sleep(0)
        return draft

    async def _check(self, head: _Head) -> None:
        """Raises Unfit, Transient."""
        if (head.format, head.service, head.language) != (FORMAT, self._service.name, language(self._service.views)):
            raise Unfit("made by other code, for other code")
        places = {TopicPartition(topic, partition): place for topic, partition, place in head.places}
        at = self._pictures.at
        if sorted(places) != sorted(at):
            raise Unfit("of other partitions")
        kept_ms = await self._topics.deletions_kept_ms([topic.name for topic in self._service.views])
        age_ms = self._clock.now_s() * 1000 - head.read_ms
        if not 0 <= age_ms < kept_ms / 2:
            raise Unfit(f"{age_ms / 3_600_000:.0f} hours old, and deletions are told for {kept_ms / 3_600_000:.0f} hours")
        bounds = await self._topics.bounds(at)
        news = await self._topics.appended_after({one: place.appended_ms for one, place in places.items() if place.last is not None})
        for one, place in places.items():
            begin, end = bounds[one]
            if place.begin != begin:
                raise Unfit(f"{one.topic}/{one.partition} begins at {begin}, not at {place.begin}")
            if place.last is not None and not place.last < news.get(one, end):
                raise Unfit(f"{one.topic}/{one.partition} was read up to {place.last}, and what is there isn't what was read")

    # ---- making ----

    async def run(self) -> None:
        while not self.stopping:
            await self._clock.sleep(self._look_s)
            if self._is_due():
                await self.make(self._pause_s)

    def _is_due(self) -> bool:
        if self._pictures.misnamed:
            return False
        news = self._pictures.records - self._records
        return news >= max(self._least, ENOUGH * self._pictures.documents()) or self._clock.now_s() - self._made_s > SELDOM_S

    async def make_last(self) -> None:
        """When nothing is read any more; where nothing was read since the last one, that is as good."""
        if self._pictures.records > self._records and not self._pictures.misnamed:
            await self.make(0)

    async def make(self, pause_s: float) -> None:
        """Replaces the snapshot by a new one; where that fails, the one before stays, until enough was read again."""
        records, now_s = self._pictures.records, self._clock.now_s()
        try:
            size = await self._shelf.write(self._paced(pause_s))
        except Exception as error:  # noqa: BLE001 - nor does it end one
            self._log.warning("view snapshot not kept", action="try_again_later", error=f"{type(error).__name__}: {error}"[:300])
        else:
            self.made += 1
            self._log.info("view snapshot kept", action="snapshot", documents=self._pictures.documents(), bytes=size)
        self._records, self._made_s = records, now_s

    async def _paced(self, pause_s: float) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece
            await self._clock.sleep(pause_s)

    def _pieces(self) -> Iterator[bytes]:
        yield self._head()
        yield from self._known()
        yield from self._held()

    def _head(self) -> bytes:
        places = [(at.topic, at.partition, place) for at, place in self._pictures.places().items()]
        return _pack(_Head(FORMAT, self._service.name, language(self._service.views), int(self._pictures.read_s * 1000), places))

    def _known(self) -> Iterator[bytes]:
        for index, contents in enumerate(self._pictures.contents()):
            yield from (_pack(_Piece(index, data)) for data in contents.dump())

    def _held(self) -> Iterator[bytes]:
        yield from (_pack(_Piece(VIEW, data)) for data in self._pictures.view.dump())


@cache
def language(views: tuple[Topic, ...]) -> str:
    """A digest of the contracts of all documents of these topics."""
    contracts = [[topic.name, topic.kind, [kind.model_json_schema() for kind in topic.types]] for topic in views]
    return blake2b(json.dumps(contracts, sort_keys=True).encode(), digest_size=16).hexdigest()
