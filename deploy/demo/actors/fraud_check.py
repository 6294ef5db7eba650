"""A fraud check: puts a few orders on hold once they are accepted, looks at them, and lets most go on."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.wire import Reads
from schemas import topics
from schemas.channel import HoldOrder, ResolveHold
from schemas.orders import OrderAccepted
from schemas.topics import Body

SUSPECTS, GUILTY = 0.015, 0.25
HOLD_ID = "fraud-check"


class FraudCheck:
    """A second writer of the channel's topic, under request ids of its own."""

    reads: ClassVar[Reads] = {topics.ORDER_EVENTS: (OrderAccepted,)}

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def hear(self, body: Body) -> None:
        if isinstance(body, OrderAccepted) and self._desk.dice.chance(SUSPECTS, body.order_id, "suspect"):
            channel, _, ref = body.order_id.partition(":")
            self._hold(channel, ref)
            self._desk.later(1.0, 3.0, f"{body.order_id} looked at", partial(self._resolve, channel, ref))

    def _hold(self, channel: str, ref: str) -> None:
        hold = HoldOrder(
            request_id=f"{ref}:fraud-hold", channel=channel, channel_order_ref=ref, actor="fraud check", hold_id=HOLD_ID, type="fraud"
        )
        self._desk.send(topics.CHANNEL_ORDERS, hold, f"{ref}:fraud-hold")

    def _resolve(self, channel: str, ref: str) -> None:
        guilty = self._desk.dice.chance(GUILTY, ref, "guilty")
        resolve = ResolveHold(
            request_id=f"{ref}:fraud-resolve",
            channel=channel,
            channel_order_ref=ref,
            actor="fraud check",
            hold_id=HOLD_ID,
            resolution="cancel" if guilty else "release",
        )
        self._desk.send(topics.CHANNEL_ORDERS, resolve, f"{ref}:fraud-resolve")
