"""What the benchmark makes of what it saw: due times, rates, tallies, fitted costs, and the simulation behind its model."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from rich.console import Console

from deploy.fleet import SERVICES
from schemas.inventory import ReservationDeclined, ReservedLine, StockReserved
from schemas.sourcing import LinesUnfillable, PartLine
from schemas.topics import CHANNEL_ORDERS, TOPIC_OF, Body
from shared.kernel.codec import value_of
from shared.kernel.ports import Outgoing, Record, TopicPartition
from tests.bench import model, orders, page, sending
from tests.bench.costs import WAY, Costs, Measured, fitted
from tests.bench.flash import Tally
from tests.bench.growth import tenths
from tests.bench.nervure import Latency, percentiles, run_of
from tests.bench.sending import Sample
from tests.bench.simulation import Cost
from tests.bench.template import filled

NOW = datetime(2026, 1, 5, tzinfo=UTC)


class SlowWriter:
    """A broker that takes a while for the first batch."""

    def __init__(self, first_s: float) -> None:
        self._wait_s = first_s
        self.sent_at: list[float] = []

    async def send(self, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> dict[TopicPartition, int]:
        await asyncio.sleep(self._wait_s)
        self._wait_s = 0.0
        counts = {at: len(records) for at, records in batches.items()}
        self.sent_at += [time.time() * 1000] * sum(counts.values())
        return counts


async def test_an_open_loop_waits_for_nobody_and_what_left_late_was_due_all_the_same() -> None:
    """Of 40 orders due within 0.2 s the first batch takes 0.3 s: all have left soon after, and each one's wait counts from its turn."""
    writer = SlowWriter(0.3)
    records = [(TopicPartition("t", 0), Outgoing(b"k", b"v", ()))] * 40
    began_ms = await sending.pace(writer, records, 200.0)  # type: ignore[arg-type]
    due_ms = {str(n): began_ms + 5 * n for n in range(40)}
    run = run_of(40, due_ms, {str(n): at for n, at in enumerate(writer.sent_at)})
    assert run.instructed == 40
    assert max(run.latencies_ms) >= 295
    assert sorted(run.latencies_ms, reverse=True)[39] < 295
    assert writer.sent_at[-1] - began_ms < 1000


def test_a_run_counts_from_the_first_order_due_to_the_last_instruction() -> None:
    """One order was never instructed: it counts in no latency and not in the rate."""
    run = run_of(3, {"a": 1000.0, "b": 2000.0, "c": 2500.0}, {"a": 1100.0, "b": 3000.0})
    assert (run.sent, run.instructed, run.seconds, run.orders_per_s) == (3, 2, 2.0, 1.0)
    assert sorted(run.latencies_ms) == [100.0, 1000.0]


def test_percentiles_are_of_the_orders_themselves() -> None:
    assert percentiles([float(n) for n in range(1, 1001)]) == Latency(501, 991, 1000)
    assert percentiles([]) == Latency(0, 0, 0)


def test_a_template_filled_is_the_order_itself() -> None:
    """Byte for byte what an adapter would have sent, but for the time; in the partition of its key."""
    lines = (("p1", 2), ("p2", 1))
    made = orders.Templates.of([lines], 4)
    at, record = made.record(7, "ref-7")
    wanted = orders.order("ref-7", lines)
    found = type(wanted).model_validate_json(record.value or b"")
    assert found.model_copy(update={"placed_at": wanted.placed_at}) == wanted
    assert (record.key.decode(), dict(record.headers)["ce_id"].decode()) == (wanted.order_id, wanted.request_id)
    assert at.topic == CHANNEL_ORDERS.name
    assert filled(record, "other") == record


def test_tenths_of_a_long_run_are_read_between_samples() -> None:
    samples = [Sample(0.0, 0, 0), Sample(5.0, 600, 500), Sample(10.0, 1100, 1000), Sample(11.0, 1100, 1100)]
    assert tenths(samples, 10.0) == pytest.approx([100.0] * 10)


# ---- the flash sale ----


def appended(body: Body, at_ms: int) -> Record:
    headers = (("ce_type", f"nervure.{type(body).__name__}".encode()),)
    return Record(TOPIC_OF[type(body)].name, 0, at_ms, at_ms, b"", value_of(body), headers)


def reserved(order: str, units: int, at_ms: int) -> Record:
    line = ReservedLine(line_id="1", sku="s", asked=1, reserved=units)
    return appended(StockReserved(part_id=f"{order}/1", order_id=order, location="north", lines=(line,)), at_ms)


def declined(order: str, at_ms: int) -> Record:
    line = ReservedLine(line_id="1", sku="s", asked=1, reserved=0)
    return appended(ReservationDeclined(part_id=f"{order}/1", order_id=order, location="north", lines=(line,)), at_ms)


def unfillable(order: str, at_ms: int) -> Record:
    return appended(LinesUnfillable(order_id=order, lines=(PartLine(line_id="1", sku="s", quantity=1),), reason="no_stock"), at_ms)


def test_a_decline_is_stale_only_while_something_was_left() -> None:
    """Three grants and one decline until the last grant, in its very millisecond; the declines after it are just."""
    tally = Tally()
    for record in (reserved("f:1", 1, 10), reserved("f:2", 1, 20), declined("f:3", 30), reserved("f:4", 1, 30), declined("f:5", 31)):
        tally.note(record)
    assert (tally.reserved, tally.declined_share) == (3, 0.25)


def test_an_order_answered_twice_is_not_answered_once() -> None:
    tally = Tally()
    for record in (unfillable("f:1", 10), unfillable("f:2", 20), unfillable("f:2", 30)):
        tally.note(record)
    assert (tally.answered, len(tally.answers), tally.last_ms) == (1, 2, 30)


# ---- the model ----


def costs(cpu_ms: float = 0.5, database_ms: float = 0.0, shares: Sequence[float] = (0.25,) * 4) -> Costs:
    """Every service takes one input an order beside its way, and costs the same."""
    each = {
        name: Measured(float(WAY.count(name) or 1), Cost(0.0, cpu_ms), Cost(0.0, database_ms), Cost(0.0, 0.0), 0.0) for name in SERVICES
    }
    return Costs(each, 0.0, 0.0, 2, shares)


def test_two_measurements_give_the_cost_by_batch_and_by_input() -> None:
    """A batch of 100 costs 60 ms, one of 10 costs 15 ms: 10 for the batch and half a millisecond for each input."""
    found = fitted(100, 0.6, 10, 1.5)
    assert [found.a_batch, found.an_input] == pytest.approx([10.0, 0.5])


def test_one_machine_does_what_its_cores_can() -> None:
    """Six inputs of half a millisecond an order, two cores: 667 orders a second, and the CPU is what limits it."""
    found = model.simulate(costs(), 1)
    assert found.orders_per_s == pytest.approx(667, rel=0.05)
    assert found.limits == model.ALL


def test_a_second_machine_doubles_it_and_the_first_bottleneck_is_named() -> None:
    """Sourcing takes a third of all. At most four replicas, each a core: 4,000 inputs of half a millisecond a second, two an order."""
    assert model.simulate(costs(), 2).orders_per_s == pytest.approx(1333, rel=0.1)
    many = model.simulate(costs(), 16)
    assert many.orders_per_s == pytest.approx(4000, rel=0.1)
    assert many.limits.startswith("the loop of sourcing/")


def test_orders_of_one_location_go_through_one_loop() -> None:
    """However many machines there are: half a millisecond each."""
    found = model.simulate(costs(), 8, shares=(0.0, 1.0, 0.0, 0.0))
    assert found.orders_per_s <= 2050
    assert found.limits.startswith("the loop of inventory/")


def test_a_database_that_takes_all_is_named() -> None:
    """It stays on one machine; no loop has more than one core of it at a time."""
    found = model.simulate(costs(cpu_ms=0.01, database_ms=1.0), 8)
    assert found.orders_per_s <= 1050
    assert "sourcing" in found.limits


# ---- the page ----


def test_the_page_shows_what_there_is_and_calls_nothing_reached_that_was_tried_smaller() -> None:
    told = Console(width=160, record=True, file=io.StringIO())
    cold = {"levels": 1000, "in_view": 1000, "seconds": 3.0}
    page.show({"orders_per_s": 400.0, "cold_start": cold}, told)
    text = told.export_text()
    assert "orders a second" in text and "at this size" in text and " yes" not in text
    assert "flash" not in text
