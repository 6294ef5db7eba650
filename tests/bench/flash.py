"""A flash sale: one item, five orders for each unit, sent as fast as the broker takes them.

Judged from the topics alone:

    sold       units reserved (StockReserved less ReservationReleased and ReservationShorted) and units instructed: both must be the
               units there were, not one more or less
    answered   orders that ended in exactly one way: instructed, or told unfillable (the channel's policy lets nothing wait)
    rate       orders from the first append to the last such answer, against orders of the same shape (one line, one unit) for items of
               which there is enough, just before on the same system
    declined   commands that inventory declined while units of the item were left somewhere, of all it answered until then: sourcing
               had planned on a view that was too old. Left means: until the last grant's append; what shares its millisecond counts

Half of the units lie in either of the two warehouses, so the nearer one is sold out first while the other still has some.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from schemas import topics
from schemas.fulfilment import FulfilOrder
from schemas.inventory import ReservationDeclined, ReservationReleased, ReservationShorted, StockReserved
from schemas.sourcing import LinesUnfillable
from shared.kernel.ports import Record
from tests.bench import orders, sending
from tests.bench.ground import Ground
from tests.bench.meter import Ends, order_of, type_of
from tests.bench.nervure import LOOK_S, WAIT_S, Load, Run
from tests.bench.programme import Figures, Sizes
from tests.bench.shop import Shop

ORDERS_A_UNIT = 5
CHANNEL = "flash"
WATCHED = (topics.CHANNEL_ORDERS.name, topics.RESERVATIONS.name, topics.SOURCING_DECISIONS.name, topics.FULFILMENT_ORDERS.name)


@dataclass(slots=True)
class Tally:
    """What the topics say of one sale."""

    first_ms: int = 0
    last_ms: int = 0
    """Append of the first order, and of the last answer."""
    reserved: int = 0
    instructed: int = 0
    """Units."""
    answers: Counter[str] = field(default_factory=Counter)
    """By order, how often it was instructed or told unfillable."""
    granted_ms: list[int] = field(default_factory=list)
    declined_ms: list[int] = field(default_factory=list)
    """Appends of inventory's answers."""

    @property
    def answered(self) -> int:
        """Orders answered exactly once."""
        return sum(1 for times in self.answers.values() if times == 1)

    @property
    def declined_share(self) -> float:
        """Of inventory's answers up to the last grant, those that grant nothing."""
        until = max(self.granted_ms, default=0)
        declined = sum(1 for at in self.declined_ms if at <= until)
        return declined / max(1, declined + len(self.granted_ms))

    @property
    def seconds(self) -> float:
        return (self.last_ms - self.first_ms) / 1000

    def note(self, record: Record) -> None:
        """One record of the sale's own orders."""
        if record.topic == topics.CHANNEL_ORDERS.name:
            self.first_ms = min(self.first_ms or record.appended_ms, record.appended_ms)
            return
        match type_of(record):
            case "StockReserved":
                units = sum(line.reserved for line in StockReserved.model_validate_json(record.value or b"").lines)
                self.reserved += units
                (self.granted_ms if units else self.declined_ms).append(record.appended_ms)
            case "ReservationDeclined":
                ReservationDeclined.model_validate_json(record.value or b"")
                self.declined_ms.append(record.appended_ms)
            case "ReservationReleased":
                self.reserved -= sum(line.quantity for line in ReservationReleased.model_validate_json(record.value or b"").lines)
            case "ReservationShorted":
                self.reserved -= sum(line.quantity for line in ReservationShorted.model_validate_json(record.value or b"").lines)
            case "FulfilOrder":
                self.instructed += sum(line.quantity for line in FulfilOrder.model_validate_json(record.value or b"").lines)
                self._answer(record)
            case "LinesUnfillable":
                LinesUnfillable.model_validate_json(record.value or b"")
                self._answer(record)
            case _:
                """Others say nothing about units, and answer nobody."""

    def _answer(self, record: Record) -> None:
        self.answers[order_of(record)] += 1
        self.last_ms = max(self.last_ms, record.appended_ms)


async def measure(shop: Shop, sizes: Sizes, figures: Figures) -> Figures:
    count, units = sizes.flash_orders, sizes.flash_orders // ORDERS_A_UNIT
    normal = await _normal(shop, max(1_000, units))
    sku = f"flash-{uuid4().hex[:6]}"
    await _stock(shop.ground, sku, units)
    tally = await _sell(shop.ground, sku, count)
    rate = len(tally.answers) / tally.seconds if tally.seconds else 0.0
    print(f"flash sale: {tally.instructed} of {units} units sold, {tally.answered} of {count} answered, {rate:.0f} orders/s", flush=True)
    return {
        "flash": {
            "orders": count,
            "units": units,
            "sold": tally.instructed,
            "reserved": tally.reserved,
            "answered": tally.answered,
            "orders_per_s": round(rate, 1),
            "normal_orders_per_s": round(normal.orders_per_s, 1),
            "rate_ratio": round(rate / normal.orders_per_s, 3) if normal.orders_per_s else 0.0,
            "declined_share": round(tally.declined_share, 4),
            "declined": len(tally.declined_ms),
        }
    }


async def _normal(shop: Shop, count: int) -> Run:
    return await Load(shop.ground, orders.single_lines(shop.baskets.skus)).run(count)


async def _stock(ground: Ground, sku: str, units: int) -> None:
    """Half of the units in either warehouse; the odd one in the first."""
    bodies = [*orders.items([sku]), *orders.seller(CHANNEL, CHANNEL, backorder=False)]
    await ground.say(bodies, sku)
    await ground.rest()
    first, second = orders.LOCATIONS
    await ground.say(
        [
            *orders.counts([sku], [first], units - units // 2, f"{sku}-first"),
            *orders.counts([sku], [second], units // 2, f"{sku}-second"),
        ],
        f"{sku}-counts",
    )
    await ground.rest()


async def _sell(ground: Ground, sku: str, count: int) -> Tally:
    load = Load(ground, orders.single_lines([sku]), CHANNEL)
    prefix = load.prefix()
    records, begin = list(load.records(prefix, count)), await ground.meter.ends(*WATCHED)
    await sending.flood(ground.writer, records)
    await _answered(ground, begin, count)
    tally = Tally()
    async for record in ground.meter.records(begin):
        if _is_of(record, prefix):
            tally.note(record)
    return tally


def _is_of(record: Record, prefix: str) -> bool:
    mine = f"{CHANNEL}:{prefix}-"
    return (record.key or b"").decode().startswith(mine) or order_of(record).startswith(mine)


async def _answered(ground: Ground, begin: Ends, count: int) -> None:
    """Returns once every order has a decision and nothing comes any more, or nothing has for ten minutes."""
    last: Sequence[int] = ()
    moved = time.monotonic()
    while time.monotonic() - moved < WAIT_S:
        come = [await ground.meter.come({at: end for at, end in begin.items() if at.topic == name}) for name in WATCHED[2:]]
        if come[0] >= count and come == last:
            await ground.rest()
            return
        moved = time.monotonic() if come != last else moved
        last = come
        await asyncio.sleep(LOOK_S)
