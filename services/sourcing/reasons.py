"""Why a plan: what the planner looked at and what it chose. Kept short, and written out when the decision is published with it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from schemas.forms import Candidate, CostTerms, Explanation, LineQuantity, PlanCost, PlannedPart, SeenLevel
from services.sourcing.rules import Plan
from shared.value import Light, Value


class Seen(Light, frozen=True):
    """One level as the planner saw it."""

    sku: str
    atp: int
    version: int


class Looked(NamedTuple):
    """One location that was looked at."""

    location: str
    km: int | None
    levels: tuple[Seen, ...]


class Reasons(Value, frozen=True):
    """Enough to compute a plan again."""

    policy: str
    policy_version: int
    currency: str
    attempt: int
    candidates: tuple[Looked, ...]
    eliminated: dict[str, int]
    """Locations ruled out, counted by the constraint that ruled them out."""
    capped: bool
    plans: tuple[Plan, ...]
    """The chosen one and the best others, cheapest first."""


def explanation(reasons: Reasons) -> Explanation:
    """As readers of the decision get it."""
    chosen, *alternatives = map(cost_document, reasons.plans)
    return Explanation(
        policy=reasons.policy,
        policy_version=reasons.policy_version,
        currency=reasons.currency,
        attempt=reasons.attempt,
        candidates=tuple(
            Candidate(location=location, distance_km=km, levels=tuple([SeenLevel(seen.sku, seen.atp, seen.version) for seen in levels]))
            for location, km, levels in reasons.candidates
        ),
        eliminated=reasons.eliminated,
        capped=reasons.capped,
        chosen=chosen,
        alternatives=tuple(alternatives),
    )


def cost_document(plan: Plan) -> PlanCost:
    """The plan as PlanCost has it."""
    parts = tuple([PlannedPart(location, tuple([LineQuantity(*line) for line in lines])) for location, lines in plan.parts])
    return PlanCost(parts, CostTerms(*plan.cost, plan.cost.total))
