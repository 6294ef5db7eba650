"""What things cost, from what was measured: by batch and by input, of a service, its database's sessions and the broker.

CPU an order and the size of batches are known at the full rate and at 50 orders/s: two points. What the database server and the broker
spend for nobody in particular is shared out, by what sessions spend and by inputs. A process that waits for work spends something too,
which at 50 orders/s counts as its batches': so what a batch costs is rather too much than too little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from deploy.fleet import SERVICES
from tests.bench.programme import Figures
from tests.bench.simulation import MAX_BATCH, Cost

WAY = ("order_capture", "sourcing", "inventory", "sourcing", "fulfilment_tracking")
"""Whose turn it is until the instruction."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one service."""

    inputs: float
    """An order."""
    cpu: Cost
    database: Cost
    broker: Cost
    commit_ms: float

    def an_order(self, part: Callable[[Measured], Cost]) -> float:
        """Milliseconds in full batches."""
        return part(self).of(MAX_BATCH) / MAX_BATCH * self.inputs


@dataclass(frozen=True, slots=True)
class Costs:
    """All that the model is fed with."""

    services: Mapping[str, Measured]
    hop_ms: float
    load_ms: float
    """CPU of the benchmark's own load, an order."""
    cores: int
    location_shares: Sequence[float]
    """Of the commands to inventory, by partition."""


def costs_of(figures: Figures) -> Costs:
    """From the figures of the parts `rate` and `latency`."""
    slow = figures["latency_ms"]["at_50_per_s"]
    full_ms, slow_ms = with_shares(figures["cpu_ms_an_order"], figures["batches"]), with_shares(slow["cpu_ms_an_order"], slow["batches"])
    services = {name: _measured(name, figures["batches"][name], slow["batches"][name], full_ms, slow_ms) for name in SERVICES}
    batches_ms = sum(slow["batches"][name]["ms_a_batch"] for name in WAY)
    hop_ms = max(0.0, slow["p50"] - batches_ms) / len(WAY)
    return Costs(services, hop_ms, full_ms["load"], psutil.cpu_count() or 1, figures["location_shares"])


def with_shares(cpu_ms: Mapping[str, float], batches: Mapping[str, Figures]) -> dict[str, float]:
    """The same with what no single service spends, shared out: the database server's own work as its sessions', the broker's as inputs."""
    sessions = {name: cpu_ms.get(f"postgres/{name}", 0.0) for name in SERVICES}
    own = max(0.0, cpu_ms["postgres"] - sum(sessions.values()))
    inputs = {name: batches[name]["inputs_an_order"] for name in SERVICES}
    spread = {f"postgres/{name}": ms + own * ms / max(1e-9, sum(sessions.values())) for name, ms in sessions.items()}
    return dict(cpu_ms) | spread | {f"kafka/{name}": cpu_ms["kafka"] * count / sum(inputs.values()) for name, count in inputs.items()}


def _measured(name: str, full: Figures, slow: Figures, full_ms: Mapping[str, float], slow_ms: Mapping[str, float]) -> Measured:
    def cost(key: str) -> Cost:
        return fitted(
            full["inputs_a_batch"], full_ms[key] / full["inputs_an_order"], slow["inputs_a_batch"], slow_ms[key] / slow["inputs_an_order"]
        )

    cpu, database = cost(name), cost(f"postgres/{name}")
    commit_ms = max(0.0, slow["ms_a_batch"] - cpu.of(slow["inputs_a_batch"]) - database.of(slow["inputs_a_batch"]))
    return Measured(full["inputs_an_order"], cpu, database, cost(f"kafka/{name}"), commit_ms)


def fitted(large: float, ms_in_large: float, small: float, ms_in_small: float) -> Cost:
    """The cost by batch and by input that explains what an input cost in batches of two sizes."""
    if large <= small:
        return Cost(0.0, ms_in_large)
    a_batch = max(0.0, (ms_in_small - ms_in_large) / (1 / small - 1 / large))
    return Cost(a_batch, max(0.0, ms_in_large - a_batch / large))
