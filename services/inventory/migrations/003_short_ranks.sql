-- Instants in a rank are fifteen hexadecimal digits; they were nineteen decimal ones.

DROP INDEX state.reservation_owner;
UPDATE state.reservation SET rank = left(rank, 3)
    || lpad(to_hex(substr(rank, 4, 19)::bigint), 15, '0') || lpad(to_hex(substr(rank, 23, 19)::bigint), 15, '0')
WHERE length(rank) = 41;
UPDATE state.booked SET rank = lpad(to_hex(rank::bigint), 15, '0') WHERE length(rank) = 19;

-- The lines of one order share a rank at most, so ids need not stand in the index. Of a picked reservation the rank changes, so room in its
-- page would not keep its update there.
CREATE INDEX reservation_owner ON state.reservation (owner, rank) WHERE owner IS NOT NULL;
ALTER TABLE state.reservation SET (fillfactor = 100);
