"""`python -m tests.bench [--quick] [--only PART,PART] [--json FILE]`: how fast, how flat, how large.

Parts, in their order (each module says what it measures):

    rate        orders a second beside the floor, CPU an order, memory        latency     at half that rate and at 50 a second
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.bench import catch_up, cold_start, flash, growth, latency, model, rate, replicas, width
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
QUICK_PARTS = ("rate", "latency", "flash", "catch_up")
NEEDS = {"latency": ("rate",), "model": ("rate", "latency")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="first figures of the cheap parts within three minutes")
    parser.add_argument("--only", type=parts_named, help="these parts, by comma, and those they need")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each part")
    asked = parser.parse_args()
    obey_signals()
    wanted = asked.only or (QUICK_PARTS if asked.quick else PARTS)
    asyncio.run(bench(wanted, QUICK if asked.quick else FULL, asked.json))


def obey_signals() -> None:
    """Ctrl-C and SIGTERM end everything that was started, also where a shell started this with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def parts_named(text: str) -> tuple[str, ...]:
    """The parts of a list by comma, in the programme's order, with those they need. Raises argparse.ArgumentTypeError."""
    named = {part.strip() for part in text.split(",")}
    if unknown := named - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    named |= {need for part in named for need in NEEDS.get(part, ())}
    return tuple(part for part in PARTS if part in named)


async def bench(wanted: Sequence[str], sizes: Sizes, file: Path | None) -> Figures:
    """All parts one after the other; what is known is written after each."""
    course = Course(file)
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

    def __init__(self, file: Path | None) -> None:
        self.figures: Figures = {"part_s": {}}
        self._file = file

    async def take(self, part: str, measuring: Awaitable[Figures]) -> None:
        """One part; where an earlier one told something under the same name, both are kept."""
        began = time.monotonic()
        for name, figure in (await measuring).items():
            known = self.figures.get(name)
            self.figures[name] = known | figure if isinstance(known, dict) and isinstance(figure, dict) else figure
        self.figures["part_s"][part] = round(time.monotonic() - began)
        if self._file is not None:
            self._file.write_text(json.dumps(self.figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
