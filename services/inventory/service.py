"""The wiring of inventory."""

from __future__ import annotations

from pathlib import Path

from schemas import topics
from schemas.forms import ReserveStock
from schemas.fulfilment import IssueDated, ReservationEnded, StockIssued, StockPicked
from schemas.inventory import ReleaseStock
from schemas.returns import StockRestocked, StockWrittenOff
from schemas.stock import InboundAnnounced, InboundClosed, StockCounted, StockMoved
from services.inventory.decide import KINDS, decide, find, keys
from services.inventory.levels import availability
from shared.kernel.model import Service, State
from shared.kernel.views import Documents

MIGRATIONS = Path(__file__).with_name("migrations")

service: Service[Documents] = Service(
    name="inventory",
    reads={
        topics.STOCK_REPORTS: (StockCounted, StockMoved, InboundAnnounced, InboundClosed),
        topics.INVENTORY_COMMANDS: (ReserveStock, ReleaseStock),
        topics.FULFILMENT_STOCK: (StockPicked, StockIssued, IssueDated, ReservationEnded),
        topics.RETURN_STOCK: (StockRestocked, StockWrittenOff),
        topics.LOCATIONS: (),
    },
    kinds=KINDS,
    find=find,
    keys=keys,
    decide=decide,
    view=Documents,
    views=(topics.ITEMS, topics.LOCATIONS, topics.POLICIES),
    states=(State(topics.AVAILABILITY, "level", availability),),
    migrations=tuple((MIGRATIONS / name).read_text() for name in ("001_levels.sql", "002_left_out.sql", "003_short_ranks.sql")),
)
