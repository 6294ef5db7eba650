"""How far the run is: a live view in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.demo.tally import Tally

PLAIN_EVERY_S = 5.0
LIVE_EVERY_S = 0.5
console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for the person who waits."""
    console.print(text, markup=False, soft_wrap=True)


class Progress:
    """What the tally says, with rates."""

    def __init__(self, tally: Tally, orders: int) -> None:
        self._tally, self._orders = tally, orders
        self._began = time.monotonic()
        self.placed = 0
        self.held_back_s = 0.0
        """How long the channel has waited for a busy machine."""
        self.note = ""
        self.heard_at = time.monotonic()
        """When the topics last said something."""

    async def show(self) -> None:
        """For ever; cancel it at the end."""
        if not console.is_terminal:
            while True:
                await asyncio.sleep(PLAIN_EVERY_S)
                say("  " + self.line())
        with Live(self.view(), console=console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(LIVE_EVERY_S)
                live.update(self.view(), refresh=True)

    def line(self) -> str:
        """All figures in one line."""
        figures = ", ".join(f"{count:,} {name}" for name, count in self._figures())
        return f"{time.monotonic() - self._began:5.0f} s: {self.placed:,} placed, {figures}" + (f" ({self.note})" if self.note else "")

    def _figures(self) -> list[tuple[str, int]]:
        tally = self._tally
        out = sum(story.shipped or story.collected for story in tally.stories.values())
        arrived = sum(story.delivered or story.collected for story in tally.stories.values())
        return [
            ("accepted", tally.count("accepted")),
            ("sourced", tally.count("decisions")),
            ("instructed", tally.count("instructed_at")),
            ("shipped", out),
            ("delivered", arrived),
            ("ended", tally.count("ended")),
        ]

    def view(self) -> Group:
        """All figures as bars."""
        seconds = max(0.1, time.monotonic() - self._began)
        table = Table.grid(padding=(0, 2))
        table.add_column()
        table.add_column(justify="right")
        table.add_column(width=40)
        table.add_column(justify="right", style="dim")
        for name, count in [("placed", self.placed), *self._figures()]:
            bar = ProgressBar(total=max(1, self._orders), completed=count, width=40)
            table.add_row(name, f"{count:,}", bar, f"{count / seconds:,.1f}/s")
        waiting = f"{seconds:.0f} s, {self._tally.units.shipped:,} units shipped, {self._tally.declines} reservations declined"
        return Group(table, Text(waiting + (f"; {self.note}" if self.note else ""), style="dim"))
