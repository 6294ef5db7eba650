"""What several machines would do, and what would stop them first: simulated, fed with measured costs and nothing else.

Measured: CPU an order of each service, of its database's sessions, of the rest of the database server and of the broker, and the size of
batches, at the full rate and at 50 orders/s. Two points give each a cost by batch and a cost by input; what a batch took at 50 orders/s
beyond its CPU is the wait for its commit; what latency at 50 orders/s is beyond the five batches of an order's way, a fifth of it, is a
hop (fetching, gathering, publishing). All other messages of an order come at the end of its way.

Assumed, and said so: machines like this one with a network that costs nothing; a service's database stays on one machine, whole; brokers
share the partitions evenly and keep one copy; each service has the replicas its time at full use asks for, at most one a partition; orders
spread evenly over partitions, once also as the locations of this benchmark spread them. Whatever is to be placed goes, largest first, to
the machine with the least to do.

The same simulation of this one machine, the load beside it, is compared with the measured rate: what that says of the model is told, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.fleet import SERVICES
from tests.bench.costs import WAY, Costs, costs_of
from tests.bench.programme import Figures, Sizes
from tests.bench.simulation import MAX_BATCH, Clock, Loop, Machine

PARTITIONS = 4
"""Of each topic, as it is made unless NERVURE_PARTITIONS says otherwise."""
BATCHES_UNDER_WAY = 3
"""Full batches for each loop that a closed loop keeps under way."""
TURNS = 2
"""What is measured: so many times as many orders as are under way, after as many as are under way have gone through."""
STEP_MS, MOST_MS = 500.0, 600_000.0
FULL, NEARLY_FULL = 0.95, 0.9
"""The share of its time from which a machine counts as what limits the rate; and of their time, from which all of them together do."""
SPARE = 1.5
"""Replicas are made for so much more than the mean asks for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What so many machines do; `limits` is what is busy all the time."""

    machines: int
    orders_per_s: float
    limits: str
    busy: float
    replicas: dict[str, int]

    def as_json(self) -> Figures:
        rounded = {"orders_per_s": round(self.orders_per_s), "busy": round(self.busy, 2)}
        return {"machines": self.machines, **rounded, "limits": self.limits, "replicas": self.replicas}


async def measure(sizes: Sizes, figures: Figures) -> Figures:
    costs = costs_of(figures)
    here = simulate(costs, 1, with_load=True)
    even = [simulate(costs, count) for count in sizes.machines]
    skewed = [simulate(costs, count, shares=costs.location_shares) for count in sizes.machines]
    return {
        "model": {
            "cores_a_machine": costs.cores,
            "hop_ms": round(costs.hop_ms, 1),
            "measured_orders_per_s": figures["orders_per_s"],
            "simulated_here_orders_per_s": round(here.orders_per_s),
            "simulated_to_measured": round(here.orders_per_s / figures["orders_per_s"], 2),
            "machines": [one.as_json() for one in even],
            "machines_with_these_locations": [one.as_json() for one in skewed],
            "first_bottleneck": first_bottleneck(even),
            "first_bottleneck_with_these_locations": first_bottleneck(skewed),
        }
    }


def first_bottleneck(outcomes: Sequence[Outcome]) -> str:
    """What is the first to limit the rate while machines have time left, and can't be placed better; empty where that is nothing."""
    found = (one for one in outcomes if one.limits != ALL and not one.limits.startswith(PLACING))
    return next((f"{one.limits}, with {one.machines} machines" for one in found), "")


# ---- where everything goes ----

ALL = "the CPU of all machines"
PLACING = "the machine that has the most to do"


@dataclass(frozen=True, slots=True)
class Layout:
    """Machines by what is placed on them: `service/n`, `database of service`, `broker n`."""

    machines: Sequence[Machine]
    places: Mapping[str, Machine]
    replicas: dict[str, int]
    brokers: int


def lay_out(costs: Costs, count: int) -> Layout:
    """Largest first, to the machine with the least to do."""
    cpu = {name: one.an_order(lambda m: m.cpu) for name, one in costs.services.items()}
    database = {name: one.an_order(lambda m: m.database) for name, one in costs.services.items()}
    broker = sum(one.an_order(lambda m: m.broker) for one in costs.services.values())
    orders_a_ms = count * costs.cores / (sum(cpu.values()) + sum(database.values()) + broker)
    occupied = {name: cpu[name] + database[name] for name in cpu}
    replicas = {name: evenly(SPARE * ms * orders_a_ms) for name, ms in occupied.items()}
    brokers = min(count, PARTITIONS)
    wanted = {f"{name}/{n}": ms / replicas[name] for name, ms in cpu.items() for n in range(replicas[name])}
    wanted |= {f"database of {name}": ms for name, ms in database.items()}
    wanted |= {f"broker {n}": broker / brokers for n in range(brokers)}
    machines = [Machine(f"machine {n + 1}", costs.cores) for n in range(count)]
    loads, places = dict.fromkeys(range(count), 0.0), {}
    for name, ms in sorted(wanted.items(), key=lambda item: -item[1]):
        least = min(loads, key=lambda n: loads[n])
        places[name] = machines[least]
        loads[least] += ms
    return Layout(machines, places, replicas, brokers)


def evenly(wanted: float) -> int:
    """So many replicas at least, if there are partitions for them, and no replica with more partitions than another."""
    fit = [count for count in range(1, PARTITIONS + 1) if PARTITIONS % count == 0]
    return next((count for count in fit if count >= wanted), PARTITIONS)


# ---- the run ----


def simulate(costs: Costs, count: int, *, with_load: bool = False, shares: Sequence[float] = ()) -> Outcome:
    """A closed loop over so many machines; `shares` are those of the partitions of inventory's commands, evenly where none are given."""
    layout = lay_out(costs, count)
    run = _Run(costs, layout, shares or [1 / PARTITIONS] * PARTITIONS, costs.load_ms if with_load else 0.0)
    under_way = BATCHES_UNDER_WAY * MAX_BATCH * len(run.loops)
    run.start(under_way)
    run.until_done(under_way)
    began, before = run.clock.now, run.done
    machines_ms, loops_ms = [machine.busy_ms for machine in layout.machines], {name: loop.busy_ms for name, loop in run.loops.items()}
    run.until_done(under_way * (1 + TURNS))
    took = run.clock.now - began
    rate = 1000 * (run.done - before) / took
    machines = [(now.busy_ms - then) / took / costs.cores for now, then in zip(layout.machines, machines_ms, strict=True)]
    loops = {name: (loop.busy_ms - loops_ms[name]) / took for name, loop in run.loops.items()}
    limits, busy = _limits(layout, machines, loops)
    return Outcome(count, rate, limits, busy, layout.replicas)


def _limits(layout: Layout, machines: Sequence[float], loops: Mapping[str, float]) -> tuple[str, float]:
    """What is busy all the time: the machines together, one of them (then what is placed there), or one loop, busy while it waits, too."""
    together = sum(machines) / len(machines)
    if together >= NEARLY_FULL:
        return ALL, min(1.0, together)
    busiest, busy = max(enumerate(machines), key=lambda item: item[1])
    if busy >= FULL:
        there = [name for name, machine in layout.places.items() if machine is layout.machines[busiest]]
        return (there[0] if len(there) == 1 else f"{PLACING} ({', '.join(there)})"), busy
    loop = max(loops, key=lambda name: loops[name])
    return f"the loop of {loop}", min(1.0, loops[loop])


class _Run:
    """Orders on their way through the loops."""

    def __init__(self, costs: Costs, layout: Layout, shares: Sequence[float], load_ms: float) -> None:
        self.clock = Clock(layout.machines)
        self.done = 0
        self._layout = layout
        self._load_ms = load_ms
        self._steps: dict[int, int] = {}
        """Of an order: how far on its way it is."""
        self._numbers = 0
        self._hot = _spread(shares)
        self._aside = {name: one.inputs - WAY.count(name) for name, one in costs.services.items()}
        self._owed = dict.fromkeys(SERVICES, 0.0)
        self.loops = {f"{name}/{n}": self._loop(costs, name, n) for name, replicas in layout.replicas.items() for n in range(replicas)}

    def _loop(self, costs: Costs, name: str, n: int) -> Loop:
        one, places = costs.services[name], self._layout.places
        home, database = places[f"{name}/{n}"], places[f"database of {name}"]
        broker = places[f"broker {n % self._layout.brokers}"]
        return Loop(
            f"{name}/{n}",
            self.clock,
            home,
            database,
            broker,
            one.cpu,
            one.database,
            one.broker,
            one.commit_ms,
            costs.hop_ms,
            self._went,
        )

    def until_done(self, count: int) -> None:
        """Until so many orders are done in all, or ten minutes have passed."""
        while self.done < count and self.clock.now < MOST_MS:
            self.clock.run_until(self.clock.now + STEP_MS)

    def start(self, count: int) -> None:
        """So many orders come in now, and from now on one for each that is done."""
        orders = range(self._numbers, self._numbers + count)
        self._numbers += count
        self._steps |= dict.fromkeys(orders, 0)
        if self._load_ms:
            self.clock.work(self._layout.machines[0], self._load_ms * count, lambda: self._deliver(orders))
        else:
            self._deliver(orders)

    def _deliver(self, orders: Sequence[int]) -> None:
        """To whoever is next, by partition."""
        arrivals: dict[str, list[int]] = {}
        for order in orders:
            arrivals.setdefault(self._next_loop(WAY[self._steps[order]], order), []).append(order)
        for name, some in arrivals.items():
            self.loops[name].put(some)

    def _next_loop(self, service: str, order: int) -> str:
        partition = self._hot[order % len(self._hot)] if service == "inventory" else order % PARTITIONS
        return f"{service}/{partition % self._layout.replicas[service]}"

    def _went(self, orders: Sequence[int]) -> None:
        """Those that are on their way go on; those that are done make room for others, and cause what comes beside the way."""
        mine = [order for order in orders if order >= 0]
        for order in mine:
            self._steps[order] += 1
        over = [order for order in mine if self._steps[order] == len(WAY)]
        for order in over:
            del self._steps[order]
        self._deliver([order for order in mine if order in self._steps])
        if over:
            self.done += len(over)
            self._tell_others(len(over))
            self.start(len(over))

    def _tell_others(self, orders: int) -> None:
        """Inputs beside the way are numbered below zero: nobody waits for them."""
        for name, each in self._aside.items():
            self._owed[name] += max(0.0, each) * orders
            whole = int(self._owed[name])
            self._owed[name] -= whole
            replicas = self._layout.replicas[name]
            for n in range(replicas):
                self.loops[f"{name}/{n}"].put([-1] * (whole // replicas + (n < whole % replicas)))


def _spread(shares: Sequence[float], turns: int = 100) -> list[int]:
    """Partitions in turns, as often as their shares say."""
    owed, turn = [0.0] * len(shares), []
    for _ in range(turns):
        owed = [had + share for had, share in zip(owed, shares, strict=True)]
        most = max(range(len(owed)), key=lambda n: owed[n])
        owed[most] -= 1.0
        turn.append(most)
    return turn
