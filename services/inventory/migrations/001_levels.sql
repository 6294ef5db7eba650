-- Inventory levels: one row for each (sku, location). The checks are the last line of defence, not the control flow:
-- no writer, this service included, can store negative stock or promise a unit twice.

CREATE TABLE state."level" (
    id text PRIMARY KEY,
    version bigint NOT NULL CHECK (version > 0),
    owner text,
    rank text COLLATE "C",
    sku text NOT NULL,
    location text NOT NULL,
    sellable bigint NOT NULL,
    reserved bigint NOT NULL,
    owed bigint NOT NULL,
    picked bigint NOT NULL,
    in_transit bigint NOT NULL,
    quality_hold bigint NOT NULL,
    damaged bigint NOT NULL,
    display bigint NOT NULL,
    unsettled bigint NOT NULL,
    safety bigint NOT NULL,
    counted_as_of timestamptz NOT NULL,
    basis text NOT NULL,
    counted jsonb NOT NULL,
    moved_at timestamptz NOT NULL,
    moves bigint NOT NULL,
    blocked_at timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL,
    supply jsonb NOT NULL,
    CONSTRAINT level_is_named CHECK (id = sku || ':' || location),
    CONSTRAINT nothing_is_negative CHECK (
        sellable >= 0 AND picked >= 0 AND in_transit >= 0 AND quality_hold >= 0 AND damaged >= 0 AND display >= 0
        AND unsettled >= 0 AND safety >= 0 AND moves >= 0
    ),
    CONSTRAINT no_unit_is_promised_twice CHECK (reserved >= 0 AND reserved <= sellable),
    CONSTRAINT only_reserved_units_are_owed CHECK (owed >= 0 AND owed <= reserved AND (owed = 0 OR reserved = sellable))
) WITH (fillfactor = 80);

-- The levels of one location, for full counts. Neither column ever changes, so updates stay in their page.
CREATE INDEX level_owner ON state."level" (owner, rank, id) WHERE owner IS NOT NULL;
