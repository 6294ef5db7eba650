"""`python -m tests.bench.decide`: CPU of the services' own code for an order, without broker and database.

Real baskets go from the channel to the instruction through the kernel's own decoding, staging and row codecs; only where Kafka and
Postgres would be, lists and dicts are. What each service spends is printed in microseconds an order, step by step:

    read     records to messages                        stage     numbering, ids, writing messages as JSON
    view     documents of state topics                  rows      changed rows to JSON
    load     rows from JSON, as the batch names them    history   folded events to JSON
    decide   the decisions                              state     rendering and writing state documents
    fold     evolving rows
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from schemas import topics
from schemas.topics import BY_NAME, TOPICS, Body, Topic
from services.fulfilment_tracking.service import service as fulfilment_tracking
from services.inventory.service import service as inventory
from services.order_capture.service import service as order_capture
from services.returns.service import service as returns
from services.sourcing.service import service as sourcing
from shared.kernel.arrivals import Arrival, arrive, read_viewed
from shared.kernel.codec import external_record, lane_record, state_record
from shared.kernel.model import Input, Key, Kind, Need, Service, World, Yield
from shared.kernel.ports import LaneId, LaneRow, Outgoing, Record, Row, RowChange, TopicPartition
from shared.kernel.rows import HEAD, RowCodec
from shared.kernel.stage import Stage
from shared.settings import Settings
from shared.value import replace
from tests.bench import orders

SERVICES: tuple[Service[Any], ...] = (order_capture, sourcing, inventory, fulfilment_tracking, returns)
STEPS = ("read", "view", "load", "decide", "fold", "stage", "rows", "history", "state")
SIZES = ("rows", "events", "messages", "documents")
PARTITIONS = {topic.name: 1 for topic in TOPICS} | {"~timers": 1}
MOST_ROUNDS = 50


class Clock:
    """CPU time by step. A step within another is taken off it."""

    def __init__(self) -> None:
        self.ns = dict.fromkeys(STEPS, 0)
        self._inner = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        outside, self._inner = self._inner, 0
        began = time.process_time_ns()
        try:
            yield
        finally:
            spent = time.process_time_ns() - began
            self.ns[name] += spent - self._inner
            self._inner = outside + spent

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call as a step; written out, for it runs often."""

        def inside(*arguments: Any) -> Any:
            outside, self._inner = self._inner, 0
            began = time.process_time_ns()
            try:
                return call(*arguments)
            finally:
                spent = time.process_time_ns() - began
                self.ns[name] += spent - self._inner
                self._inner = outside + spent

        return inside


class Log:
    """Every topic in one partition."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {topic.name: [] for topic in TOPICS}

    def append(self, topic: str, out: Outgoing) -> int:
        records = self.records[topic]
        records.append(Record(topic, 0, len(records), int(time.time() * 1000), out.key, out.value, out.headers))
        return len(out.value or b"")

    def say(self, body: Body, id: str) -> None:
        topic = topics.TOPIC_OF[type(body)]
        self.append(topic.name, external_record(topic, body, source="/bench", id=id, now=datetime.now(UTC)))


class Running:
    """One service over the log, its rows in a dict as the database would give them back. Nobody waits here: slices are empty."""

    def __init__(self, service: Service[Any], log: Log, batch: int) -> None:
        self.clock = Clock()
        self.sizes = dict.fromkeys(SIZES, 0)
        self.counts = dict.fromkeys(SIZES, 0)
        self.service = self._timed(service)
        self.view = service.view()
        self._log = log
        self._batch = batch
        self._codecs = {kind.name: RowCodec(kind) for kind in service.kinds}
        self._rows: dict[Key, tuple[int, dict[str, Any]]] = {}
        self._read = {topic.name: 0 for topic in (*service.reads, *service.views)}
        self._marks: dict[tuple[TopicPartition, LaneId], int] = {}
        self._numbers: dict[str, int] = {}

    def _timed(self, service: Service[Any]) -> Service[Any]:
        kinds: list[Kind[Any]] = [replace(kind, evolve=self.clock.timed("fold", kind.evolve)) for kind in service.kinds]

        def decide(world: World, given: Input[Any], view: Any) -> Iterator[Yield]:
            following = self.clock.timed("decide", iter(service.decide(world, given, view)).__next__)
            try:
                while True:
                    yield following()
            except StopIteration:
                return

        return replace(service, kinds=tuple(kinds), decide=decide)

    def round(self) -> bool:
        """Reads what has come, in batches; whether there was anything."""
        for topic in self.service.views:
            with self.clock.step("view"):
                for record in self._new(topic):
                    self.view.apply(read_viewed(self.service, record, BY_NAME[record.topic]))
        some = [record for topic in self.service.reads if topic not in self.service.views for record in self._new(topic)]
        for start in range(0, len(some), self._batch):
            self._run(some[start : start + self._batch])
        return bool(some)

    def _new(self, topic: Topic) -> Sequence[Record]:
        records, start = self._log.records[topic.name], self._read[topic.name]
        self._read[topic.name] = len(records)
        return records[start:]

    def _run(self, records: Sequence[Record]) -> None:
        with self.clock.step("read"):
            batch = [arrive(self.service, record) for record in records]
        stage = Stage(self.service, self.view, PARTITIONS, self._marks)
        with self.clock.step("load"):
            needs = self._load(stage, batch)
        with self.clock.step("stage"):
            for arrival, need in zip(batch, needs, strict=True):
                assert not stage.must_wait(need, ()), "a slice of a changed row: the benchmark has no second batch for it"
                stage.take(arrival, need)
            changes = stage.finish()
        self.view.commit()
        self._marks |= stage.moved
        assert not (changes.dead_letters or changes.quarantines or changes.kept), stage.counts
        with self.clock.step("rows"):
            self._write(changes.rows)
        with self.clock.step("history"):
            told = [self._codecs[e.key.kind].dump_event(e.event) for e in changes.history if e.event is not None]
        self._note("events", map(len, told))
        self._publish(stage)

    def _load(self, stage: Stage, batch: Sequence[Arrival]) -> list[Need]:
        finds = {key for a in batch if a.body is not None for key in self.service.find(a.body)}
        found = {key: row.state for key in finds if (row := self._row(key)) is not None}
        needs = [self.service.keys(a.body, found) if a.body is not None else Need(()) for a in batch]
        keys = sorted({key for need in needs for key in need.keys})
        stage.loaded(keys, {key: row for key in keys if (row := self._row(key)) is not None})
        stage.loaded_slices({(of.owner, of.kind): [] for need in needs for of in need.slices})
        return needs

    def _row(self, key: Key) -> Row | None:
        stored = self._rows.get(key)
        return Row(stored[0], self._codecs[key.kind].parse(stored[1])) if stored is not None else None

    def _write(self, changes: Sequence[RowChange]) -> None:
        for name, codec in self._codecs.items():
            some = [change for change in changes if change.key.kind == name]
            fresh, changed = [c for c in some if c.base == 0], [c for c in some if c.base > 0]
            self._store(codec, fresh, codec.names)
            self._store(codec, changed, codec.differing(changed))

    def _store(self, codec: RowCodec, changes: Sequence[RowChange], names: Sequence[str]) -> None:
        columns, head = codec.values(changes, names), codec.head(changes)
        for change, beside, values in zip(changes, zip(*head, strict=True), zip(*columns, strict=True), strict=True):
            known = self._rows[change.key][1] if change.base > 0 else dict.fromkeys((*HEAD, *codec.names))
            self._rows[change.key] = change.version, known | dict(zip((*HEAD, *names), (*beside, *values), strict=True))
        self._note("rows", map(_size, zip(*columns, strict=True)))

    def _publish(self, stage: Stage) -> None:
        with self.clock.step("stage"):
            out = [(row.topic, lane_record(self.service.name, LaneRow(self._number(row.topic), 1, row))) for row in stage.outbox]
        self._note("messages", (self._log.append(topic, record) for topic, record in out))
        for state in self.service.states:
            with self.clock.step("state"):
                documents = []
                for id, row in stage.states(state.kind).items():
                    body = state.render(id, row.version, row.state)
                    documents.append(state_record(self.service.name, 1, id, row.version, datetime.now(UTC), body))
            self._note("documents", (self._log.append(state.topic.name, document) for document in documents))

    def _number(self, topic: str) -> int:
        self._numbers[topic] = self._numbers.get(topic, 0) + 1
        return self._numbers[topic]

    def _note(self, what: str, sizes: Iterator[int] | map[int]) -> None:
        some = list(sizes)
        self.sizes[what] += sum(some)
        self.counts[what] += len(some)

    def forget(self) -> None:
        """Measures anew from here."""
        self.clock.ns.update(dict.fromkeys(STEPS, 0))
        self.sizes.update(dict.fromkeys(SIZES, 0))
        self.counts.update(dict.fromkeys(SIZES, 0))


def _size(values: Sequence[Any]) -> int:
    """Bytes of a row's texts and documents, 8 for any other column."""
    return sum(len(value) if isinstance(value, str) else 8 for value in values)


class Bench:
    """All five services over one log."""

    def __init__(self, baskets: orders.Baskets, batch: int) -> None:
        self.log = Log()
        self.running = {service.name: Running(service, self.log, batch) for service in SERVICES}
        self._baskets = baskets
        self._placed = 0
        for number, body in enumerate((*orders.reference_data(baskets.skus), *orders.counts(baskets.skus))):
            self.log.say(body, f"set-up-{number}")
        self.settle()

    def place(self, count: int, batch: int) -> None:
        """Places so many orders, a batch at a time, each batch through all services before the next."""
        for start in range(0, count, batch):
            for _ in range(min(batch, count - start)):
                lines = self._baskets.lines[self._placed % len(self._baskets.lines)]
                self._placed += 1
                self.log.say(orders.order(f"o{self._placed}", lines), f"order-{self._placed}")
            self.settle()

    def settle(self) -> None:
        for _ in range(MOST_ROUNDS):
            if sum(one.round() for one in self.running.values()) == 0:
                return
        raise AssertionError("the services keep each other busy")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.decide", description=__doc__)
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64, help="orders, and inputs of a service, taken at a time")
    parser.add_argument("--rounds", type=int, default=3, help="the least of so many measurements counts")
    parser.add_argument("--profile", action="store_true", help="where the time goes, by function")
    asked = parser.parse_args()
    bench = Bench(orders.baskets(asked.orders, Settings().cache), asked.batch)
    bench.place(asked.batch, asked.batch)
    profile = cProfile.Profile() if asked.profile else None
    measured: list[dict[str, dict[str, int]]] = []
    gc.disable()  # what it costs depends on the lists that stand for Kafka
    for _ in range(1 if profile else asked.rounds):
        for one in bench.running.values():
            one.forget()
        instructed = len(bench.log.records[topics.FULFILMENT_ORDERS.name])
        gc.collect()
        with profile or nullcontext():
            bench.place(asked.orders, asked.batch)
        assert len(bench.log.records[topics.FULFILMENT_ORDERS.name]) - instructed >= asked.orders, "not every order was instructed"
        measured.append({name: dict(one.clock.ns) for name, one in bench.running.items()})
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
    report(bench, measured, asked.orders)


def report(bench: Bench, measured: Sequence[dict[str, dict[str, int]]], count: int) -> None:
    print(f"{count} real baskets; microseconds of CPU an order")
    print(f"{'':20}" + "".join(f"{step:>9}" for step in (*STEPS, "all")))
    sums = dict.fromkeys((*STEPS, "all"), 0.0)
    for name in bench.running:
        least = {step: min(one[name][step] for one in measured) / 1000 / count for step in STEPS}
        least["all"] = sum(least.values())
        print(f"{name:20}" + "".join(f"{us:9.0f}" for us in least.values()))
        sums = {step: sums[step] + us for step, us in least.items()}
    print(f"{'all':20}" + "".join(f"{us:9.0f}" for us in sums.values()))
    print("written an order: number, bytes")
    print(f"{'':20}" + "".join(f"{what:>18}" for what in SIZES))
    for name, one in bench.running.items():
        print(f"{name:20}" + "".join(f"{one.counts[what] / count:10.1f}{one.sizes[what] / count:8.0f}" for what in SIZES))


if __name__ == "__main__":
    main()
