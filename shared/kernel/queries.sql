-- name: life
-- Which run of which database a connection leads to: another one after a restart, a restore or a failover.
SELECT pg_postmaster_start_time()::text || ' ' || oid FROM pg_database WHERE datname = current_database();

-- name: held_by_standbys
-- Where the log of commits stands, in bytes, and how far every one of these standbys has it on disk: 0 where one is away. A commit is on our
-- own disk before it is visible, unless it is asynchronous; to wait for more would be to wait for what nobody flushes for seconds.
SELECT (
    CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn
)::bigint AS committed, (
    SELECT CASE WHEN count(DISTINCT application_name) = cardinality($1::text[]) THEN min(coalesce(flush_lsn, '0/0') - '0/0'::pg_lsn)::bigint
        ELSE 0 END
    FROM pg_stat_replication WHERE application_name = ANY($1)
) AS held;

-- name: held_by_archive
-- Where the log of commits stands, in bytes, and the last file of it that was archived; null where it is of another timeline.
SELECT (
    CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn
)::bigint AS committed, (
    SELECT last_archived_wal FROM pg_stat_archiver
    WHERE last_archived_wal ~ '^[0-9A-F]{24}$' AND left(last_archived_wal, 8) = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
) AS archived, (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes;

-- name: claim
-- Take ownership of input partitions, in one order; the epoch makes every earlier owner's next commit fail. Whoever is the first one
-- begins where the log begins.
WITH locked AS (
    SELECT p.topic, p.partition, u.begin FROM kernel.position p
    JOIN unnest($1::text[], $2::int[], $3::bigint[]) AS u(topic, partition, begin) ON p.topic = u.topic AND p.partition = u.partition
    ORDER BY p.topic, p.partition FOR UPDATE OF p
)
UPDATE kernel.position p SET epoch = p.epoch + 1,
    next = CASE WHEN p.epoch = 0 THEN locked.begin ELSE p.next END,
    began = CASE WHEN p.epoch = 0 THEN locked.begin WHEN p.next < locked.begin THEN 0 ELSE p.began END
FROM locked WHERE p.topic = locked.topic AND p.partition = locked.partition
RETURNING p.topic, p.partition, p.epoch, p.next, p.began > 0 AS headless,
    (SELECT count(*) FROM kernel.spool s WHERE s.topic = p.topic AND s.partition = p.partition) AS spooled;

-- name: marks
-- How far the lanes of these partitions were read.
SELECT l.topic, l.partition, l.service, l.incarnation, l.seq FROM kernel.lane_in l
JOIN unnest($1::text[], $2::int[]) AS u(topic, partition) ON l.topic = u.topic AND l.partition = u.partition;

-- name: declare
-- Position rows for partitions never read.
INSERT INTO kernel.position (topic, partition) SELECT * FROM unnest($1::text[], $2::int[]) ON CONFLICT DO NOTHING;

-- name: declare_lanes
-- Lane rows for the partitions of the topics this service writes.
INSERT INTO kernel.lane_out (topic, partition, incarnation)
SELECT u.topic, u.partition, i.incarnation FROM unnest($1::text[], $2::int[]) AS u(topic, partition), kernel.incarnation i
ON CONFLICT DO NOTHING;

-- name: declare_sent
INSERT INTO kernel.lane_sent (topic, partition) SELECT * FROM unnest($1::text[], $2::int[]) ON CONFLICT DO NOTHING;

-- name: write
-- What follows the rows of a batch, which `written` has counted (postgres_batch.py): the end of one statement, so that a batch is written in one
-- round trip. In which order such parts run is Postgres' own affair; so whatever takes locks asks first for the count of what locks before it,
-- and can't begin until that has ended. All of it is compare-and-set; where less is done than was asked, what comes behind does nothing.
history AS (
    INSERT INTO kernel.history (kind, id, version, type, doc, at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
    WHERE (SELECT done FROM written)
),
-- External ids never seen; one that somebody else has marked meanwhile marks nothing.
inbox AS (
    INSERT INTO kernel.inbox (source, id, digest, at)
    SELECT * FROM unnest($7::text[], $8::text[], $9::bytea[], $10::timestamptz[])
    WHERE (SELECT done FROM written) ORDER BY 1, 2
    ON CONFLICT (source, id) DO NOTHING RETURNING 1
),
-- Timers that fire are deleted by (key, due): one that was moved or cancelled meanwhile has no effect. Those without a due time are cancelled.
ended AS (
    DELETE FROM kernel.timer t USING unnest($11::text[], $12::text[], $13::text[], $14::timestamptz[]) AS u(kind, id, name, due)
    WHERE t.kind = u.kind AND t.id = u.id AND t.name = u.name AND (u.due IS NULL OR t.due = u.due)
    AND (SELECT count(*) FROM inbox) = cardinality($7)
    RETURNING u.due
),
-- One that has ended in the same batch is deleted by now, and made anew.
made AS (
    INSERT INTO kernel.timer (kind, id, name, due, rank, shard, trace)
    SELECT * FROM unnest($15::text[], $16::text[], $17::text[], $18::timestamptz[], $19::int[], $20::int[], $21::uuid[])
    WHERE (SELECT count(due) FROM ended) = $22::bigint
    ON CONFLICT (kind, id, name) DO UPDATE SET due = excluded.due, rank = excluded.rank, trace = excluded.trace RETURNING 1
),
-- Positions: another owner's epoch or another offset moves nothing.
moved AS (
    UPDATE kernel.position p SET next = u.next
    FROM unnest($23::text[], $24::int[], $25::bigint[], $26::bigint[], $27::bigint[]) AS u(topic, partition, epoch, loaded, next)
    WHERE p.topic = u.topic AND p.partition = u.partition AND p.epoch = u.epoch AND p.next = u.loaded
    AND (SELECT count(*) FROM made) = cardinality($15)
    RETURNING 1
),
-- How far lanes were read.
marked AS (
    INSERT INTO kernel.lane_in AS l (topic, partition, service, incarnation, seq)
    SELECT * FROM unnest($28::text[], $29::int[], $30::text[], $31::int[], $32::bigint[])
    WHERE (SELECT count(*) FROM moved) = cardinality($23)
    ON CONFLICT (topic, partition, service, incarnation) DO UPDATE SET seq = excluded.seq WHERE l.seq < excluded.seq RETURNING 1
),
-- Destination lanes, locked in one order, last of all locks, and moved by as many messages as go there.
locked AS (
    SELECT l.topic, l.partition, u.count FROM kernel.lane_out l
    JOIN unnest($33::text[], $34::int[], $35::bigint[]) AS u(topic, partition, count) ON l.topic = u.topic AND l.partition = u.partition
    WHERE (SELECT count(*) FROM moved) = cardinality($23) AND (SELECT count(*) FROM marked) >= 0
    ORDER BY l.topic, l.partition FOR UPDATE OF l
), taken AS (
    UPDATE kernel.lane_out l SET seq = l.seq + locked.count FROM locked
    WHERE l.topic = locked.topic AND l.partition = locked.partition
    RETURNING l.topic, l.partition, l.incarnation, l.seq - locked.count AS seq
),
-- Messages come with their place among those of their lane.
sent AS (
    INSERT INTO kernel.outbox (topic, partition, seq, incarnation, key, type, id, time, correlation, causation, trace, subject,
        subject_version, value)
    SELECT u.topic, u.partition, t.seq + u.place, t.incarnation, u.key, u.type, u.id, u.time, u.correlation, u.causation, u.trace, u.subject,
        u.subject_version, u.value
    FROM unnest($36::text[], $37::int[], $38::bigint[], $39::text[], $40::text[], $41::uuid[], $42::timestamptz[], $43::text[],
        $44::text[], $45::text[], $46::text[], $47::bigint[], $48::bytea[])
    AS u(topic, partition, place, key, type, id, time, correlation, causation, trace, subject, subject_version, value)
    JOIN taken t ON t.topic = u.topic AND t.partition = u.partition
)
-- One row at least: how much was done, and whether anything is kept or quarantined; and one for each lane, with where it stood.
SELECT d.*, t.topic, t.partition, t.incarnation, t.seq FROM (
    SELECT (SELECT counts FROM written) AS rows, (SELECT count(*) FROM inbox) AS inbox, (SELECT count(due) FROM ended) AS fired,
        (SELECT count(*) FROM moved) AS moved,
        EXISTS (SELECT FROM kernel.kept) OR EXISTS (SELECT FROM kernel.quarantine) AS attached
) d LEFT JOIN taken t ON true;

-- name: known
-- External ids seen before, with their digests.
SELECT i.source, i.id, i.digest FROM kernel.inbox i
JOIN unnest($1::text[], $2::text[]) AS u(source, id) ON i.source = u.source AND i.id = u.id;

-- name: mark_inbox_again
-- External ids seen with other content: by compare-and-set on the digest they were known with.
UPDATE kernel.inbox i SET digest = u.digest, at = u.at
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::bytea[]) AS u(source, id, digest, at, before)
WHERE i.source = u.source AND i.id = u.id AND i.digest = u.before;

-- name: anything_attached
-- Mostly there is nothing, and then nobody need say of which rows he asks.
SELECT EXISTS (SELECT FROM kernel.kept) OR EXISTS (SELECT FROM kernel.quarantine);

-- name: attached
-- Which of these rows have kept messages, and which are quarantined.
SELECT 'k' AS what, u.kind, u.id FROM unnest($1::text[], $2::text[]) AS u(kind, id)
WHERE EXISTS (SELECT 1 FROM kernel.kept k WHERE k.kind = u.kind AND k.id = u.id)
UNION ALL
SELECT 'q', u.kind, u.id FROM unnest($1::text[], $2::text[]) AS u(kind, id)
WHERE EXISTS (SELECT 1 FROM kernel.quarantine q WHERE q.kind = u.kind AND q.id = u.id);

-- name: kept_for
SELECT k.* FROM kernel.kept k
JOIN unnest($1::text[], $2::text[]) AS u(kind, id) ON k.kind = u.kind AND k.id = u.id ORDER BY k.number;

-- name: timers_due
SELECT kind, id, name, due, rank, shard, trace FROM kernel.timer
WHERE shard = ANY($1::int[]) AND due <= $2 ORDER BY due, rank, kind, id, name LIMIT $3;

-- name: next_timer
SELECT due FROM kernel.timer WHERE shard = ANY($1::int[]) ORDER BY due LIMIT 1;

-- name: keep
INSERT INTO kernel.kept (kind, id, until, shard, topic, partition, off, appended_ms, key, value, headers)
SELECT u.kind, u.id, u.until, u.shard, u.topic, u.partition, u.off, u.appended_ms, u.key, u.value, u.headers::jsonb
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::int[],
    $5::text[], $6::int[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::text[])
WITH ORDINALITY AS u(kind, id, until, shard, topic, partition, off, appended_ms, key, value, headers, position) ORDER BY u.position
ON CONFLICT (topic, partition, off) DO NOTHING;

-- name: park
-- What waits for which rows comes as a JSON array: arrays of arrays have one length.
INSERT INTO kernel.parked (status, reason, detail, waits_for, topic, partition, off, appended_ms, key, value, headers)
SELECT u.status, u.reason, u.detail, ARRAY(SELECT jsonb_array_elements_text(u.waits_for::jsonb)),
    u.topic, u.partition, u.off, u.appended_ms, u.key, u.value, u.headers::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[],
    $5::text[], $6::int[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::text[])
WITH ORDINALITY AS u(status, reason, detail, waits_for, topic, partition, off, appended_ms, key, value, headers, position)
ORDER BY u.position
ON CONFLICT (topic, partition, off) DO UPDATE
SET status = excluded.status, reason = excluded.reason, detail = excluded.detail, waits_for = excluded.waits_for;

-- name: hold_marks
-- The marks an input queues behind: who lifts them waits, and finds it. One that is gone by now isn't returned.
SELECT q.kind, q.id FROM kernel.quarantine q JOIN unnest($1::text[], $2::text[]) AS u(kind, id) ON q.kind = u.kind AND q.id = u.id
ORDER BY q.kind, q.id FOR SHARE OF q;

-- name: quarantine
INSERT INTO kernel.quarantine (kind, id, reason)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING;

-- name: lock_marks
-- The marks of what these inputs wait for, so that nobody queues behind one that is lifted.
SELECT q.kind, q.id FROM kernel.quarantine q
WHERE q.kind || ' ' || q.id IN (SELECT unnest(p.waits_for) FROM kernel.parked p WHERE p.number = ANY($1::bigint[]))
ORDER BY q.kind, q.id FOR UPDATE OF q;

-- name: lift
-- Lift those of them that nothing waits behind any more; a statement after the lock, so that it sees who queued meanwhile.
DELETE FROM kernel.quarantine q
WHERE q.kind || ' ' || q.id IN (SELECT unnest(p.waits_for) FROM kernel.parked p WHERE p.number = ANY($1::bigint[]))
AND NOT EXISTS (
    SELECT 1 FROM kernel.parked p
    WHERE p.status IN ('quarantined', 'replay') AND (q.kind || ' ' || q.id) = ANY(p.waits_for)
);

-- name: forget_kept
DELETE FROM kernel.kept WHERE number = ANY($1::bigint[]);

-- name: ask_again
-- What was parked at these places shall be replayed.
UPDATE kernel.parked p SET status = 'replay' FROM unnest($1::text[], $2::int[], $3::bigint[]) AS u(topic, partition, off)
WHERE p.topic = u.topic AND p.partition = u.partition AND p.off = u.off RETURNING p.*;

-- name: replayed
UPDATE kernel.parked SET status = 'replayed' WHERE number = ANY($1::bigint[]) AND status = 'replay';

-- name: unspool
DELETE FROM kernel.spool s USING unnest($1::text[], $2::int[], $3::bigint[]) AS u(topic, partition, off)
WHERE s.topic = u.topic AND s.partition = u.partition AND s.off = u.off;

-- name: spool
INSERT INTO kernel.spool (service, incarnation, seq, topic, partition, off, appended_ms, key, value, headers)
SELECT u.service, u.incarnation, u.seq, u.topic, u.partition, u.off, u.appended_ms, u.key, u.value, u.headers::jsonb
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::bigint[], $7::bigint[], $8::bytea[], $9::bytea[], $10::text[])
AS u(service, incarnation, seq, topic, partition, off, appended_ms, key, value, headers)
ON CONFLICT DO NOTHING;

-- name: stored_waits
-- Whether there is anything to look for: mostly there is nothing, and one question does instead of three.
SELECT EXISTS (SELECT FROM kernel.kept WHERE shard = ANY($1::int[]) AND (until <= $2 OR $3)) AS kept,
    EXISTS (SELECT FROM kernel.parked WHERE status = 'replay') AS replays,
    EXISTS (SELECT FROM kernel.spool) AS spooled;

-- name: kept_due
SELECT * FROM kernel.kept WHERE shard = ANY($1::int[]) AND (until <= $2 OR $4) ORDER BY number LIMIT $3;

-- name: replays
SELECT * FROM kernel.parked WHERE status = 'replay' ORDER BY number LIMIT $1;

-- name: spool_ready
-- Of each lane the run of spooled records that follows its mark, and those the mark has passed.
WITH ahead AS (
    SELECT s.topic, s.partition, s.service, s.incarnation, s.seq, s.seq - coalesce(l.seq, 0) AS by
    FROM kernel.spool s LEFT JOIN kernel.lane_in l USING (topic, partition, service, incarnation)
), placed AS (
    SELECT a.*, row_number() OVER (PARTITION BY topic, partition, service, incarnation, by > 0 ORDER BY seq) AS place FROM ahead a
), ready AS (
    SELECT * FROM placed WHERE by <= 0 OR by = place ORDER BY topic, partition, service, incarnation, seq LIMIT $1
)
SELECT s.* FROM kernel.spool s JOIN ready r USING (topic, partition, service, incarnation, seq)
ORDER BY s.topic, s.partition, s.service, s.incarnation, s.seq;

-- name: outbox
SELECT * FROM kernel.outbox WHERE topic = $1 AND partition = $2 AND seq > $3 ORDER BY seq LIMIT $4;

-- name: lane_heads
SELECT l.topic, l.partition, l.incarnation, l.seq, coalesce(s.seq, 0) AS sent FROM kernel.lane_out l
JOIN unnest($1::text[], $2::int[]) AS u(topic, partition) ON l.topic = u.topic AND l.partition = u.partition
LEFT JOIN kernel.lane_sent s ON s.topic = l.topic AND s.partition = l.partition;

-- name: sent
UPDATE kernel.lane_sent s SET seq = u.seq FROM unnest($1::text[], $2::int[], $3::bigint[]) AS u(topic, partition, seq)
WHERE s.topic = u.topic AND s.partition = u.partition AND s.seq < u.seq;

-- name: unsent_dead_letters
SELECT * FROM kernel.parked WHERE NOT sent ORDER BY number LIMIT $1;

-- name: dead_letters_sent
UPDATE kernel.parked SET sent = true WHERE number = ANY($1::bigint[]);

-- name: read_back
-- Marks move forward by offset only; returned: those that moved, with the version before (`old` needs Postgres 18).
INSERT INTO kernel.published AS p (topic, id, version, off)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) ORDER BY 1, 2
ON CONFLICT (topic, id) DO UPDATE SET version = excluded.version, off = excluded.off WHERE p.off < excluded.off
RETURNING p.topic, p.id, p.version, old.version AS before;

-- name: prune_outbox
-- Sent rows of these lanes that are past their keeping, a bounded number of each: looked for from the lane's oldest row on, and no further.
WITH old AS (
    SELECT s.topic, s.partition, (
        SELECT max(o.seq) FROM (
            SELECT f.seq, f.at FROM kernel.outbox f
            WHERE f.topic = s.topic AND f.partition = s.partition AND f.seq <= s.seq ORDER BY f.seq LIMIT $3
        ) o WHERE o.at < $4
    ) AS seq
    FROM kernel.lane_sent s JOIN unnest($1::text[], $2::int[]) AS u(topic, partition) ON s.topic = u.topic AND s.partition = u.partition
)
DELETE FROM kernel.outbox o USING old WHERE o.topic = old.topic AND o.partition = old.partition AND o.seq <= old.seq;

-- name: prune_inbox
DELETE FROM kernel.inbox WHERE at < $1;

-- name: depth
SELECT
    (SELECT coalesce(sum(l.seq - s.seq), 0) FROM kernel.lane_out l JOIN kernel.lane_sent s USING (topic, partition))::bigint AS outbox,
    (SELECT count(*) FROM kernel.parked WHERE status = 'dead') AS dead_letters,
    (SELECT count(*) FROM kernel.quarantine) AS quarantined,
    (SELECT count(DISTINCT (topic, partition, service, incarnation)) FROM kernel.spool) AS spooled,
    (SELECT count(*) FROM kernel.kept) AS kept,
    (SELECT count(*) FROM kernel.timer) AS timers;
