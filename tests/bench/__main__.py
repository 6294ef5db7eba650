"""`python -m tests.bench [--quick] [--only PART,PART] [--json FILE]`: how fast, how flat, how large.

Parts, in their order; each module says what it measures:

    rate        orders a second beside the floor, CPU an order, memory
    latency     from when an order was due, at half that rate and at 50/s, beside the floor's
    flash       a hundred thousand orders for twenty thousand units
    catch_up    a service down for two hundred thousand orders
    growth      thirty minutes without a pause: rate, disk, bytes an order
    width       ten times the items and the locations: rate, bytes a level
    cold_start  ready with five million inventory levels
    replicas    a second process of the busiest service, and an audit
    model       what several machines would do, from what was measured
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.fleet import service_name
from tests.bench import catch_up, cold_start, flash, growth, latency, model, page, rate, replicas, width
from tests.bench.programme import FULL, QUICK, Figures, Sizes
from tests.bench.shop import Shop, shop

InShop = Callable[[Shop, Sizes, Figures], Awaitable[Figures]]
Alone = Callable[[Sizes, Figures], Awaitable[Figures]]
IN_A_SHOP: dict[str, InShop] = {"rate": rate.measure, "latency": latency.measure, "flash": flash.measure, "catch_up": catch_up.measure}
"""Parts that share one running system, one after the other."""
ALONE: dict[str, Alone] = {
    "growth": growth.measure,
    "width": width.measure,
    "cold_start": cold_start.measure,
    "replicas": replicas.measure,
    "model": model.measure,
}
"""Parts with a system of their own."""
PARTS = (*IN_A_SHOP, *ALONE)
QUICK_PARTS = ("rate", "latency", "flash", "catch_up", "model")
NEEDS = {"latency": ("rate",), "model": ("rate", "latency")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="first figures of the cheap parts within three minutes")
    parser.add_argument("--only", type=parts_named, help="these parts, by comma, and those they need")
    parser.add_argument("--minutes", type=float, help="of the long run in `growth`; 30 unless told")
    parser.add_argument("--services", help="of `catch_up`, by comma")
    parser.add_argument("--levels", type=int, help="of `cold_start`; 5,000,000 unless told")
    parser.add_argument("--known", type=Path, help="begin with the figures of this file: their parts aren't run again for others")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each part")
    asked = parser.parse_args()
    obey_signals()
    known: Figures = json.loads(asked.known.read_text()) if asked.known else {}
    wanted = asked.only or (QUICK_PARTS if asked.quick else PARTS)
    try:
        page.show(asyncio.run(bench(with_needs(wanted, known), sizes_of(asked), asked.json, known)))
    except KeyboardInterrupt:
        sys.exit("bench: interrupted; everything it started is stopped")


def sizes_of(asked: argparse.Namespace) -> Sizes:
    changes = {
        "long_run_s": 60 * asked.minutes if asked.minutes is not None else None,
        "cold_levels": asked.levels,
        "catch_up_services": tuple(map(service_name, asked.services.split(","))) if asked.services else None,
    }
    told: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(QUICK if asked.quick else FULL, **told)


def obey_signals() -> None:
    """Ctrl-C and SIGTERM end everything that was started, also where a shell started this with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def parts_named(text: str) -> tuple[str, ...]:
    """The parts of a list by comma. Raises argparse.ArgumentTypeError."""
    named = {part.strip() for part in text.split(",")}
    if unknown := named - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return tuple(named)


def with_needs(wanted: Sequence[str], known: Figures) -> tuple[str, ...]:
    """These parts and those they need the figures of, where they aren't known, in the programme's order."""
    needed = {need for part in wanted for need in NEEDS.get(part, ()) if need not in known.get("part_s", {})}
    return tuple(part for part in PARTS if part in needed or part in wanted)


async def bench(wanted: Sequence[str], sizes: Sizes, file: Path | None, known: Figures) -> Figures:
    """All parts one after the other; what is known is written after each."""
    course = Course(file, known)
    if inside := [part for part in IN_A_SHOP if part in wanted]:
        async with shop(sizes.baskets) as open_one:
            for part in inside:
                await course.take(part, IN_A_SHOP[part](open_one, sizes, course.figures))
    for part, measure in ALONE.items():
        if part in wanted:
            await course.take(part, measure(sizes, course.figures))
    return course.figures


class Course:
    """What was measured so far, and how long each part took."""

    def __init__(self, file: Path | None, known: Figures) -> None:
        self.figures: Figures = {"part_s": {}} | known
        self._file = file

    async def take(self, part: str, measuring: Awaitable[Figures]) -> None:
        """One part; where an earlier one told something under the same name, both are kept."""
        print(f"{part} ...", flush=True)
        began = time.monotonic()
        for name, figure in (await measuring).items():
            known = self.figures.get(name)
            self.figures[name] = known | figure if isinstance(known, dict) and isinstance(figure, dict) else figure
        self.figures["part_s"][part] = round(time.monotonic() - began)
        if self._file is not None:
            self._file.write_text(json.dumps(self.figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
