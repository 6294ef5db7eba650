"""The loop: draws a case, has it decoded, notes what became of it. What shows a new outcome is mutated further.

No library measures the coverage of compiled validators, and most of the branches are theirs: so what guides the search is what they
answer, a code and a field for each problem, and what the service said then.
"""

from __future__ import annotations

import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.hostile.decoders import Decoder, decoders
from tests.hostile.records import Hostile
from tests.hostile.values import EXAMPLES

BLOCK = 64
"""Cases whose CPU time is looked at together: asking for it costs more than most of them."""
SLOW_S = 1.0
"""CPU time that no case may take; so that no block without a slow one takes more."""
MOST_KEPT = 200
"""Documents of one type that showed something new."""
MOST_KEPT_BYTES = 20_000
MOST_FINDINGS = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """A decoder that did what it must not."""

    decoder: str
    case: int
    error: str
    where: str
    input: str


@dataclass
class Tally:
    """Figures of one run."""

    cases: Counter[str] = field(default_factory=Counter)
    typed: Counter[str] = field(default_factory=Counter)
    signs: set[tuple[str, ...]] = field(default_factory=set)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    """The first of each (where, kind of error)."""
    failed: int = 0
    cpu_s: float = 0.0
    slowest_s: float = 0.0
    """CPU time of the slowest block."""
    longest: tuple[float, int, str] = (0.0, 0, "")
    """Of the block under way: seconds by the clock, case and decoder of the longest."""

    def report(self) -> dict[str, Any]:
        cases = self.cases.total()
        return {
            "cases": cases,
            "typed": self.typed.total(),
            "refused": cases - self.typed.total() - self.failed,
            "failed": self.failed,
            "outcomes": len(self.signs),
            "cpu_s": round(self.cpu_s, 1),
            "cases_a_second": round(cases / self.cpu_s) if self.cpu_s else 0,
            "slowest_block_ms": round(self.slowest_s * 1000, 1),
            "cases_a_block": BLOCK,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "by_decoder": {name: {"cases": count, "typed": self.typed[name]} for name, count in sorted(self.cases.items())},
            "findings": [{"times": "first of its kind", **_as_dict(finding)} for finding in self.findings.values()],
        }


def _as_dict(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("decoder", "case", "error", "where", "input")}


class Corpus(Mapping[str, bytes]):
    """Documents to mutate: the example of each type, and what showed something new."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._kept: dict[str, list[bytes]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(EXAMPLES)

    def __len__(self) -> int:
        return len(EXAMPLES)

    def __getitem__(self, name: str) -> bytes:
        kept = self._kept.get(name)
        return self._dice.choice(kept) if kept and self._dice.random() < 0.4 else EXAMPLES[name]

    def keep(self, hostile: Hostile) -> None:
        if hostile.value is None or len(hostile.value) > MOST_KEPT_BYTES:
            return
        kept = self._kept.setdefault(hostile.type, [])
        if len(kept) < MOST_KEPT:
            kept.append(hostile.value)
        else:
            kept[self._dice.randrange(MOST_KEPT)] = hostile.value


def fuzz(cases: int, seed: int, table: Sequence[Decoder] | None = None, tell: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Runs the cases, decoder by decoder in turn, and tells now and then how far it is."""
    dice, tally = Random(seed), Tally()
    corpus = Corpus(dice)
    table = table if table is not None else decoders()
    for begin in range(0, cases, BLOCK):
        began_s = time.process_time()
        tally.longest = (0.0, begin, "")
        for number in range(begin, min(begin + BLOCK, cases)):
            decoder = table[number % len(table)]
            _try(decoder, decoder.make(dice, corpus), number, tally, corpus)
        _note_time(tally, time.process_time() - began_s)
        if begin % (BLOCK * 156) == 0:
            tell(tally)
    return tally


def _note_time(tally: Tally, took_s: float) -> None:
    tally.cpu_s += took_s
    tally.slowest_s = max(tally.slowest_s, took_s)
    if took_s > SLOW_S:
        _, number, name = tally.longest
        tally.failed += 1
        tally.findings["slow", name] = Finding(
            name, number, f"{took_s:.1f} s of CPU time for {BLOCK} cases", name, "replay it with the seed"
        )


def _try(decoder: Decoder, drawn: Any, number: int, tally: Tally, corpus: Corpus) -> None:
    tally.cases[decoder.name] += 1
    began_s = time.perf_counter()
    try:
        outcome = decoder.read(drawn)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        tally.failed += 1
        _note(tally, decoder, number, error, drawn)
        return
    finally:
        tally.longest = max(tally.longest, (time.perf_counter() - began_s, number, decoder.name))
    tally.typed[decoder.name] += outcome.typed
    sign = (decoder.name, *outcome.sign)
    if sign not in tally.signs:
        tally.signs.add(sign)
        if isinstance(drawn, Hostile):
            corpus.keep(drawn)


def _note(tally: Tally, decoder: Decoder, number: int, error: Exception, drawn: Any) -> None:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/hostile/" not in frame.filename]
    frame = frames[-1] if frames else None
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" if frame else decoder.name
    kind = (where, f"{type(error).__name__} {str(error)[:30]}")
    if kind not in tally.findings and len(tally.findings) < MOST_FINDINGS:
        tally.findings[kind] = Finding(decoder.name, number, f"{type(error).__name__}: {error}"[:600], where, repr(drawn)[:3_000])
