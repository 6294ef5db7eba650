-- What the command line and the audit ask a service's database. The kernel's own queries are in shared/kernel/queries.sql.

-- name: lanes_out
-- Every lane this service writes, but its journal: last committed, last known to be in its topic, the first one that can be sent again.
SELECT l.topic, l.partition, l.incarnation, l.seq, coalesce(s.seq, 0) AS sent,
    (SELECT min(o.seq) FROM kernel.outbox o WHERE o.topic = l.topic AND o.partition = l.partition) AS kept_from
FROM kernel.lane_out l LEFT JOIN kernel.lane_sent s USING (topic, partition)
WHERE l.topic NOT LIKE 'oms.%.journal.v1' ORDER BY l.topic, l.partition;

-- name: lanes_in
-- How far this service has read every lane.
SELECT topic, partition, service, incarnation, seq FROM kernel.lane_in;

-- name: spools
-- Lanes with records behind a gap.
SELECT topic, partition, service, incarnation, min(seq) AS first, max(seq) AS last, count(*) AS records
FROM kernel.spool GROUP BY topic, partition, service, incarnation;

-- name: parked
-- Dead letters and quarantined inputs, the oldest first.
SELECT * FROM kernel.parked WHERE status = ANY($1::text[]) ORDER BY number;

-- name: parked_one
SELECT * FROM kernel.parked WHERE number = $1;

-- name: replay
-- What is asked for runs in the service that parked it.
UPDATE kernel.parked SET status = 'replay' WHERE number = ANY($1::bigint[]) AND status IN ('dead', 'quarantined') RETURNING number;

-- name: discard
UPDATE kernel.parked SET status = 'discarded' WHERE number = $1 AND status IN ('dead', 'quarantined', 'replay') RETURNING number;

-- name: lock_marks_of
-- The marks of these rows, so that nobody queues behind one that is lifted.
SELECT q.kind, q.id FROM kernel.quarantine q JOIN unnest($1::text[], $2::text[]) AS u(kind, id) ON q.kind = u.kind AND q.id = u.id
ORDER BY q.kind, q.id FOR UPDATE OF q;

-- name: lift_of
-- Marks of these rows that nothing waits behind any more.
DELETE FROM kernel.quarantine q USING unnest($1::text[], $2::text[]) AS u(kind, id)
WHERE q.kind = u.kind AND q.id = u.id AND NOT EXISTS (
    SELECT 1 FROM kernel.parked p
    WHERE p.status IN ('quarantined', 'replay') AND (q.kind || ' ' || q.id) = ANY(p.waits_for)
);

-- name: quarantined_rows
SELECT kind, id, reason, at FROM kernel.quarantine ORDER BY kind, id;

-- name: kept
-- Messages that wait for a row nobody has made yet.
SELECT kind, id, until, topic, partition, off FROM kernel.kept ORDER BY number;

-- name: spooled_records
SELECT topic, partition, service, incarnation, seq, off FROM kernel.spool ORDER BY topic, partition, seq;

-- name: positions
-- Where reading goes on.
SELECT topic, partition, next FROM kernel.position ORDER BY topic, partition;

-- name: history_of
-- The folded events of some rows, in commit order.
SELECT kind, id, version, type, doc, at FROM kernel.history WHERE kind = $1 AND id = ANY($2::text[]) ORDER BY id COLLATE "C", number;

-- name: timers_overdue
-- Timers that should have fired.
SELECT kind, id, name, due FROM kernel.timer WHERE due < $1 ORDER BY due LIMIT $2;

-- name: parked_places
-- What is parked, without its content.
SELECT number, status, topic, partition, off, reason, waits_for FROM kernel.parked ORDER BY number;

-- name: level_changes
-- What all folded events of these levels of inventory add up to, figure by figure; without asking the code that folds them.
SELECT h.id, c.key AS figure, sum(c.value::bigint) AS units
FROM kernel.history h, jsonb_each_text(coalesce(h.doc::jsonb -> 'change', '{}')) c
WHERE h.kind = 'level' AND h.type <> '' AND h.id = ANY($1::text[]) GROUP BY h.id, c.key;

-- name: at_work
-- What this service has still to do by itself: publish, run what is due.
SELECT
    (SELECT coalesce(sum(l.seq - s.seq), 0) FROM kernel.lane_out l JOIN kernel.lane_sent s USING (topic, partition))::bigint AS unpublished,
    (SELECT coalesce(sum(seq), 0) FROM kernel.lane_out)::bigint AS committed,
    (SELECT count(*) FROM kernel.timer WHERE due < $1) AS timers,
    (SELECT count(*) FROM kernel.parked WHERE status = 'replay') AS replays,
    (SELECT count(*) FROM kernel.parked WHERE NOT sent) AS letters;

-- name: marks_of
-- What the owner of a state topic has read back of it.
SELECT id, version, off FROM kernel.published WHERE topic = $1;

-- name: history_since
-- Rows to which something has happened since.
SELECT DISTINCT kind, id FROM kernel.history WHERE number > $1;

-- name: history_end
SELECT coalesce(max(number), 0) AS number FROM kernel.history;

-- name: flow
-- How far this service has got: committed to its lanes, of that known to be in the topics.
SELECT l.topic, l.partition, l.seq, coalesce(s.seq, 0) AS sent FROM kernel.lane_out l LEFT JOIN kernel.lane_sent s USING (topic, partition);

-- name: timers_between
-- Work that was due in this time and isn't done.
SELECT count(*) AS timers FROM kernel.timer WHERE due > $1 AND due <= $2;

-- name: forget_mark
-- A row without a mark counts as not shown: its owner reads the newest record back.
DELETE FROM kernel.published WHERE topic = $1 AND id = $2;
