"""`python -m tests.bench [--quick] [--only PART,PART] [--json FILE]`: how fast, how flat, how large.

Parts, in their order (each module says what it measures):

    rate        orders a second beside the floor, CPU an order, memory        latency     at half that rate and at 50 a second
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.bench import catch_up, flash, latency, rate
from tests.bench.programme import FULL, QUICK, Figures, Sizes
from tests.bench.shop import Shop, shop

InShop = Callable[[Shop, Sizes, Figures], Awaitable[Figures]]
IN_A_SHOP: dict[str, InShop] = {"rate": rate.measure, "latency": latency.measure, "flash": flash.measure, "catch_up": catch_up.measure}
"""Parts that share one running system, one after the other."""
QUICK_PARTS = ("rate", "latency")
NEEDS = {"latency": ("rate",)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="first figures of the cheap parts within three minutes")
    parser.add_argument("--only", type=parts_named, help="these parts, by comma, and those they need")
    parser.add_argument("--json", type=Path, help="write the figures to this file, after each part")
    asked = parser.parse_args()
    wanted = asked.only or (QUICK_PARTS if asked.quick else tuple(IN_A_SHOP))
    asyncio.run(bench(wanted, QUICK if asked.quick else FULL, asked.json))


def parts_named(text: str) -> tuple[str, ...]:
    """The parts of a list by comma, in the programme's order, with those they need. Raises argparse.ArgumentTypeError."""
    named = {part.strip() for part in text.split(",")}
    if unknown := named - IN_A_SHOP.keys():
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(IN_A_SHOP)}")
    named |= {need for part in named for need in NEEDS.get(part, ())}
    return tuple(part for part in IN_A_SHOP if part in named)


async def bench(wanted: Sequence[str], sizes: Sizes, file: Path | None) -> Figures:
    figures: Figures = {}
    if inside := [part for part in IN_A_SHOP if part in wanted]:
        async with shop(sizes.baskets) as open_one:
            for part in inside:
                began = time.monotonic()
                figures |= await IN_A_SHOP[part](open_one, sizes, figures)
                figures.setdefault("part_s", {})[part] = round(time.monotonic() - began)
                save(figures, file)
    return figures


def save(figures: Figures, file: Path | None) -> None:
    if file is not None:
        file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
