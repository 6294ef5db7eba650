"""A bug in the rules of one service: for a while it raises on some inputs, then it is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from uuid import UUID

from schemas.topics import CHANNEL_ORDERS, topic_of
from shared.kernel.model import Input, Service
from shared.value import replace

MOST_RAISED = 6
"""Different inputs: fewer than a minute may have (see engine.QUARANTINES_A_MINUTE)."""


class PlantedBug(Exception):
    """Raised by a rule that the world has broken on purpose."""


class RuleBug:
    """Raises for ever on the inputs it has chosen, until it is mended.

    What channels ask is left alone: what of it fails is a dead letter, later requests pass it, and the model reads an order's requests
    in the order of their topic."""

    def __init__(self, dice: Random, raised: Callable[[], bool]) -> None:
        self._dice = dice
        self._raised = raised
        self._chosen: dict[UUID, bool] = {}
        self.here = False
        self._share = dice.choice((0.05, 0.2, 0.5))

    def planted_in(self, service: Service[Any]) -> Service[Any]:
        """The same service, with the bug."""

        def decide(world: Any, given: Input[Any], view: Any) -> Iterator[Any]:
            if self.here and self._raises(given):
                raise PlantedBug(f"{type(given.body).__name__} of {given.cause}")
            yield from service.decide(world, given, view)

        return replace(service, decide=decide)

    def _raises(self, given: Input[Any]) -> bool:
        if given.cause not in self._chosen:
            self._chosen[given.cause] = self._may_raise(given.body) and self._dice.random() < self._share and self._raised()
        return self._chosen[given.cause]

    def _may_raise(self, body: Any) -> bool:
        topic = topic_of(body)
        left_alone = topic is not None and (topic.kind == "reference" or topic == CHANNEL_ORDERS)
        return not left_alone and sum(self._chosen.values()) < MOST_RAISED
