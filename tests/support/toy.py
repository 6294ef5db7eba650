"""Two tiny services on topics of their own, to provoke the kernel: a teller books amounts, a ledger adds up what the teller tells.

Whatever happens, in the end: sum of the amounts sent = the teller's balance = the ledger's = the newest balance document; and the ledger
has booked the teller's totals in the order in which the teller told them.
NERVURE_TOY_NAME sets topics and services of several toys apart. A file named by NERVURE_TOY_TRAPS holds lines `poison <account>` (the
rule raises) and `stall <account> <seconds>` (the rule blocks once, at most so long, until the line is gone).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas import topics
from schemas.topics import Topic
from schemas.types import Code, Delta, Message, Version
from shared.kernel.kafka import Connection
from shared.kernel.model import Event, Found, Input, Keep, Key, Kind, Need, Service, State, Wake, Woken, World
from shared.kernel.replica import Replica, Running
from shared.kernel.views import Documents
from shared.value import Value, replace

TRAPS = "NERVURE_TOY_TRAPS"
NAME = os.environ.get("NERVURE_TOY_NAME", "toy")


class Add(Message):
    """Book an amount."""

    account: Code
    amount: Delta


class Added(Message):
    """An amount was booked."""

    account: Code
    amount: Delta
    total: Delta


class Balance(Message):
    """The balance of an account."""

    account: Code
    total: Delta
    version: Version


class Close(Message):
    """Note what the ledger holds by now."""

    account: Code


def toy_topics(name: str) -> tuple[Topic, Topic, Topic, Topic]:
    """What comes in, what is told, what is shown, what the ledger is asked."""
    return (
        Topic(f"{name}.adds.v1", "fact", "external", "account", (Add,), "Amounts to book."),
        Topic(f"{name}.added.v1", "events", f"{name}_teller", "account", (Added,), "Amounts booked."),
        Topic(f"{name}.balances.v1", "state", f"{name}_teller", "account", (Balance,), "Balances."),
        Topic(f"{name}.closings.v1", "fact", "external", "account", (Close,), "Accounts to close."),
    )


ADDS, ADDED, BALANCES, CLOSINGS = toy_topics(NAME)


def register() -> None:
    """Makes the kernel of this process know the toy's topics."""
    for topic in (ADDS, ADDED, BALANCES, CLOSINGS):
        topics.BY_NAME[topic.name] = topic
        for kind in topic.types:
            topics.TOPIC_OF[kind] = topic
            topics._TYPE_BY_NAME[topic.name, kind.__name__] = kind


register()


class Account(Value, frozen=True):
    account: str
    total: int = 0
    entries: int = 0
    told: tuple[int, ...] = ()
    """At the ledger: the teller's totals, in the order in which they were booked."""
    closed: tuple[int, ...] = ()
    """At the ledger: what it held whenever it was asked to close."""


class Booked(Value, frozen=True):
    account: str
    amount: int
    told: tuple[int, ...] = ()

    @property
    def key(self) -> Key:
        return Key("account", self.account)


class Closed(Value, frozen=True):
    account: str

    @property
    def key(self) -> Key:
        return Key("account", self.account)


def evolve(state: Account, event: Booked | Closed) -> Account:
    if isinstance(event, Closed):
        return replace(state, closed=(*state.closed, state.total))
    return replace(state, total=state.total + event.amount, entries=state.entries + 1, told=state.told + event.told)


ACCOUNT: Kind[Account] = Kind("account", Account, Account, evolve, (Booked, Closed))


def keys(body: Any, _: Found) -> Need:
    return Need((body.key if isinstance(body, Woken) else Key("account", body.account),))


@dataclass
class Traps:
    """What a rule shall do wrong, as the file says now."""

    sprung: set[str] = field(default_factory=set)

    def spring(self, account: str) -> None:
        for line in self._lines():
            kind, name, *rest = line.split()
            if name == account and kind == "poison":
                raise ValueError(f"poisoned account {account}")
            if name == account and kind == "stall" and line not in self.sprung:
                self.sprung.add(line)
                self._block(line, float(rest[0]))

    def _lines(self) -> list[str]:
        try:
            return Path(os.environ[TRAPS]).read_text().splitlines()
        except (KeyError, FileNotFoundError):
            return []

    def _block(self, line: str, at_most_s: float) -> None:
        deadline = time.monotonic() + at_most_s
        while time.monotonic() < deadline and line in self._lines():
            time.sleep(0.05)


traps = Traps()


def teller(world: World, given: Input[Any], _: Documents) -> Iterator[Event | Message | Wake | Keep]:
    add = given.body
    traps.spring(add.account)
    yield Booked(add.account, add.amount)
    total = world.get(Key("account", add.account), Account(add.account)).total
    yield Added(account=add.account, amount=add.amount, total=total)


def ledger(_: World, given: Input[Any], __: Documents) -> Iterator[Event | Message | Wake | Keep]:
    traps.spring(given.body.account)
    if isinstance(given.body, Close):
        yield Closed(given.body.account)
        return
    yield Booked(given.body.account, given.body.amount, (given.body.total,))


def balance(id: str, version: int, state: Account) -> Balance:
    return Balance(account=id, total=state.total, version=version)


TELLER: Service[Documents] = Service(
    name=f"{NAME}_teller",
    reads={ADDS: (Add,)},
    kinds=(ACCOUNT,),
    keys=keys,
    decide=teller,
    view=Documents,
    states=(State(BALANCES, "account", balance),),
)
LEDGER: Service[Documents] = Service(
    name=f"{NAME}_ledger", reads={ADDED: (Added,), CLOSINGS: (Close,)}, kinds=(ACCOUNT,), keys=keys, decide=ledger, view=Documents
)


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m tests.support.toy teller|ledger --kafka ... --postgres ... --replica N`: one replica as a process of its own."""
    from deploy.run import configure_logging

    parser = argparse.ArgumentParser()
    parser.add_argument("service", choices=("teller", "ledger"))
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--replica", type=int, default=0)
    asked = parser.parse_args(arguments)
    configure_logging("debug")
    service = TELLER if asked.service == "teller" else LEDGER

    async def run() -> None:
        replica = Replica(service, Running(Connection(asked.kafka), asked.postgres, asked.replica))
        replica.stop_on_signals()
        await replica.run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
