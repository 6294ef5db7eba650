"""The demo made small: a few dozen real baskets, whose buyers, holds and backorders are in more of a hurry than the demo's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date

from deploy.demo.baskets import Baskets
from deploy.demo.dice import Dice
from deploy.demo.shelves import Spot
from deploy.demo.world import World, world_of
from schemas.reference import Channel, Policy
from schemas.topics import Body

DAY = date(2017, 3, 1)
LIES = 0.15
"""Share of shelves that are empty in a world that lies."""


def small_world(baskets: Baskets, orders: int, dice: Dice) -> World:
    """`orders` baskets and what belongs to them."""
    world = world_of(baskets, DAY, orders, dice)
    return replace(world, rules=tuple(_hurried(world.rules)))


def _hurried(rules: tuple[Body, ...]) -> Iterator[Body]:
    for rule in rules:
        match rule:
            case Policy():
                yield rule.model_copy(update={"backorder_deadline_s": 6, "presume_delivered_s": 8, "return_deadline_s": 5})
            case Channel():
                yield rule.model_copy(update={"hold_deadline_s": 6})
            case _:
                yield rule


class Lie(World):
    """A world where many a shelf is empty, whatever was counted, and nobody admits a loss: each unit sold there is one too many."""

    @property
    def lost(self) -> dict[Spot, int]:
        return {}


def lying(world: World, dice: Dice) -> Lie:
    facts = {field.name: getattr(world, field.name) for field in fields(world)}
    really = {spot: 0 if dice.chance(LIES, "lie", *spot) else units for spot, units in world.really.items()}
    return Lie(**facts | {"really": really})
