"""When a location can start, ship, and when the buyer has the goods: local calendars in, UTC instants out. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.forms import Promise
from schemas.reference import Carrier, Location, Method
from shared.value import Value, replace

MOST_DAYS = 60
"""Days looked ahead for one on which a location works."""
MOST_DAYS_AHEAD = 1_000
"""Days a release may be put off."""
COLLECTED: frozenset[Method] = frozenset({"click_and_collect", "in_store_takeaway"})
"""Methods by which the location that holds the goods hands them over itself."""
START_OF_DAY, END_OF_DAY = time(0), time(23, 59, 59)


class Schedule(Value, frozen=True):
    """The dates of one part."""

    release_at: datetime
    ship_by: datetime
    carrier: str | None
    """None where the buyer collects."""
    carrier_service: str | None
    promise: Promise


def schedule(location: Location, method: Method, carrier: Carrier, km: int, release_at: datetime, buyers_zone: str) -> Schedule:
    """What follows from handing the work to the location at `release_at`.

    Work starts the same day up to the cut-off, else on the next working day; preparation follows; a parcel leaves with the carrier's next
    collection and then travels `km`. Who collects may come once it is prepared, while the location is open.
    """
    ready = started(location, release_at) + timedelta(minutes=location.preparation_minutes)
    if method in COLLECTED:
        at = opened(location, ready)
        return Schedule(release_at, at.astimezone(UTC), None, None, promise_of("collection", at.date(), location.zone))
    leaves = collected(location, carrier, ready)
    day = working_days_after(leaves.astimezone(zone_of(buyers_zone)).date(), days_on_the_road(carrier, km))
    return Schedule(release_at, leaves.astimezone(UTC), carrier.carrier, carrier.service, promise_of("delivery", day, buyers_zone))


class Span(NamedTuple):
    """Releases with the same dates, from `begins` to `ends`, both included."""

    begins: datetime
    ends: datetime
    dates: Schedule


PROBES = tuple(timedelta(minutes=minutes) for minutes in (720, 240, 60, 15, 1))
"""How far a span is tried to reach."""


def span_of(begins: datetime, zone: str, at: Callable[[datetime], Schedule]) -> Span:
    """What follows from a release at `begins`, and how long it does.

    The later a release by the location's clock, the later its dates: between two releases with equal dates all have the same, unless that
    clock is changed between them.
    """
    dates, local = at(begins), zone_of(zone)
    for further in PROBES:
        ends = begins + further
        if begins.astimezone(local).utcoffset() == ends.astimezone(local).utcoffset() and replace(at(ends), release_at=begins) == dates:
            return Span(begins, ends, dates)
    return Span(begins, begins, dates)


# ---- the release ----


class Bounds(NamedTuple):
    """What the order and its policy say about dates."""

    now: datetime
    grace_ends: datetime
    earliest: datetime | None = None
    """The buyer gets nothing before this day."""
    ship_by: datetime | None = None
    deliver_by: datetime | None = None

    def precedes(self, dates: Schedule) -> bool:
        """Whether the buyer would have the goods too early."""
        zone = zone_of(dates.promise.zone)
        return self.earliest is not None and dates.promise.day < self.earliest.astimezone(zone).date()

    def keeps(self, dates: Schedule) -> bool:
        """Whether they leave in time and arrive in time."""
        leaves = self.ship_by is None or dates.ship_by <= self.ship_by
        return leaves and (self.deliver_by is None or dates.promise.latest.date() <= self.deliver_by.date())


def released(bounds: Bounds, zone: str, at: Callable[[datetime], Schedule]) -> Schedule:
    """The dates of a part by its release: the end of the grace period, or the first local day from which the goods don't come too early.

    Where that would miss a deadline, the latest local day that keeps it, or now: deadlines precede the grace period and a street date.
    `zone` is the location's; `at` says what follows from a release.
    """
    dates = at(bounds.grace_ends)
    if bounds.earliest is not None and bounds.precedes(dates):
        days = midnights(bounds.grace_ends, bounds.earliest + timedelta(days=1), zone) or [bounds.grace_ends]
        dates = at(days[bisect_left(days, True, hi=len(days) - 1, key=lambda day: not bounds.precedes(at(day)))])
    if bounds.keeps(dates):
        return dates
    days = [bounds.now, *midnights(bounds.now, dates.release_at, zone)]
    return at(days[max(0, bisect_left(days, True, key=lambda day: not bounds.keeps(at(day))) - 1)])


def midnights(start: datetime, end: datetime, zone: str) -> list[datetime]:
    """The begin of every local day after `start`, up to that of `end`."""
    first, last = start.astimezone(zone_of(zone)).date(), end.astimezone(zone_of(zone)).date()
    days = (first + timedelta(days=n) for n in range(1, (last - first).days + 1))
    return [datetime.combine(day, time(0), zone_of(zone)).astimezone(UTC) for day in days]


# ---- steps ----


def days_on_the_road(carrier: Carrier, km: int) -> int:
    """Working days from the carrier's collection to the buyer."""
    return max(carrier.days_at_least, -(-km // carrier.km_a_day))


def promise_of(kind: str, day: date, zone: str) -> Promise:
    latest = datetime.combine(day, END_OF_DAY, zone_of(zone)).astimezone(UTC)
    return Promise(kind="collection" if kind == "collection" else "delivery", day=day, zone=zone, latest=latest)


def started(location: Location, at: datetime) -> datetime:
    """The first instant, local, at which the location works on what it gets at `at`."""
    local = at.astimezone(zone_of(location.zone))
    for day, opens, closes in working_days(location, local.date()):
        start = max(local, datetime.combine(day, opens, local.tzinfo))
        if start.date() == day and start.time() <= min(location.order_cut_off, closes):
            return start
    return local


def opened(location: Location, ready: datetime) -> datetime:
    """The first instant at or after `ready` at which the location is open."""
    for day, opens, closes in working_days(location, ready.date()):
        at = max(ready, datetime.combine(day, opens, ready.tzinfo))
        if at.date() == day and at.time() <= closes:
            return at
    return ready


def collected(location: Location, carrier: Carrier, ready: datetime) -> datetime:
    """The first collection of the carrier at or after `ready`."""
    for day, _, _ in working_days(location, ready.date()):
        leaves = datetime.combine(day, carrier.collection, ready.tzinfo)
        if leaves >= ready:
            return leaves
    return ready


def working_days(location: Location, start: date) -> Iterator[tuple[date, time, time]]:
    """(day, opens, closes) of the days on which the location works, from `start` on, at most MOST_DAYS ahead."""
    for ahead in range(MOST_DAYS):
        day = start + timedelta(days=ahead)
        if day in location.closed_on:
            continue
        if not location.hours:
            yield day, START_OF_DAY, END_OF_DAY
        elif hours := [entry for entry in location.hours if entry.weekday == day.weekday()]:
            yield day, min(entry.opens for entry in hours), max(entry.closes for entry in hours)


def working_days_after(day: date, days: int) -> date:
    """Carriers work from Monday to Friday."""
    weeks, left = divmod(days, 5)
    day += timedelta(weeks=weeks)
    while left > 0 or day.weekday() > 4:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day


@lru_cache(maxsize=1000)
def zone_of(name: str) -> ZoneInfo:
    """The zone; UTC where a location names one that doesn't exist."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
