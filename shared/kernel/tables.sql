-- The kernel's own tables, the same in every service's database. Applied on every start; each statement is idempotent.

CREATE SCHEMA IF NOT EXISTS kernel;
CREATE SCHEMA IF NOT EXISTS state;

-- One row: which life of this database this is. Readers compare it; nothing raises it yet.
CREATE TABLE IF NOT EXISTS kernel.incarnation (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    incarnation integer NOT NULL DEFAULT 1
);
INSERT INTO kernel.incarnation DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS kernel.migration (
    number integer PRIMARY KEY,
    digest text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

-- Where reading goes on, and whose turn it is: moved by compare-and-set in the transaction of each batch. `began` is where the log began
-- when the partition was first claimed: above 0, its head had expired, and a lane never met may start anywhere; 0 again once records
-- expired that should have been read.
CREATE TABLE IF NOT EXISTS kernel.position (
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    next bigint NOT NULL DEFAULT 0,
    began bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- How far each incoming lane was read.
CREATE TABLE IF NOT EXISTS kernel.lane_in (
    topic text NOT NULL,
    partition integer NOT NULL,
    service text NOT NULL,
    incarnation integer NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    PRIMARY KEY (topic, partition, service, incarnation)
) WITH (fillfactor = 50);

-- External messages seen before.
CREATE TABLE IF NOT EXISTS kernel.inbox (
    source text NOT NULL,
    id text NOT NULL,
    digest bytea NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (source, id)
) PARTITION BY HASH (source, id);
CREATE TABLE IF NOT EXISTS kernel.inbox_0 PARTITION OF kernel.inbox FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE IF NOT EXISTS kernel.inbox_1 PARTITION OF kernel.inbox FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE IF NOT EXISTS kernel.inbox_2 PARTITION OF kernel.inbox FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE IF NOT EXISTS kernel.inbox_3 PARTITION OF kernel.inbox FOR VALUES WITH (MODULUS 4, REMAINDER 3);

-- Outgoing lanes: locked last, until the commit.
CREATE TABLE IF NOT EXISTS kernel.lane_out (
    topic text NOT NULL,
    partition integer NOT NULL,
    incarnation integer NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

-- The last sequence of each lane known to be in its topic (a lower bound).
CREATE TABLE IF NOT EXISTS kernel.lane_sent (
    topic text NOT NULL,
    partition integer NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS kernel.outbox (
    topic text NOT NULL,
    partition integer NOT NULL,
    seq bigint NOT NULL,
    incarnation integer NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    id uuid NOT NULL,
    time timestamptz NOT NULL,
    correlation text NOT NULL,
    causation text NOT NULL,
    trace text NOT NULL,
    subject text NOT NULL,
    subject_version bigint NOT NULL,
    value bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, seq)
) WITH (toast_tuple_target = 8160);  -- kept for minutes: not worth compressing

CREATE TABLE IF NOT EXISTS kernel.timer (
    kind text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    due timestamptz NOT NULL,
    rank integer NOT NULL,
    shard integer NOT NULL,
    trace uuid,
    PRIMARY KEY (kind, id, name)
);
CREATE INDEX IF NOT EXISTS timer_due ON kernel.timer (due, rank, kind, id);

-- Every folded event, for good: `nervure rebuild` folds them again and compares. A row that ended and came back counts its versions
-- from 1 again; `number` tells its lives apart.
CREATE TABLE IF NOT EXISTS kernel.history (
    number bigint GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    doc text NOT NULL,
    at timestamptz NOT NULL
);

-- Messages for rows not known yet.
CREATE TABLE IF NOT EXISTS kernel.kept (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    id text NOT NULL,
    until timestamptz NOT NULL,
    shard integer NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    off bigint NOT NULL,
    appended_ms bigint NOT NULL,
    key bytea,
    value bytea,
    headers jsonb NOT NULL,
    UNIQUE (topic, partition, off)
);
CREATE INDEX IF NOT EXISTS kept_row ON kernel.kept (kind, id);

-- Dead letters and quarantined inputs: the original bytes, why, and what was decided about them.
CREATE TABLE IF NOT EXISTS kernel.parked (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('dead', 'quarantined', 'replay', 'replayed', 'discarded')),
    topic text NOT NULL,
    partition integer NOT NULL,
    off bigint NOT NULL,
    appended_ms bigint NOT NULL,
    key bytea,
    value bytea,
    headers jsonb NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    waits_for text[] NOT NULL DEFAULT '{}',
    sent boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, partition, off)
);
CREATE INDEX IF NOT EXISTS parked_open ON kernel.parked (status, number) WHERE status IN ('quarantined', 'replay');
CREATE INDEX IF NOT EXISTS parked_unsent ON kernel.parked (number) WHERE NOT sent;

-- Rows that wait behind an input that failed.
CREATE TABLE IF NOT EXISTS kernel.quarantine (
    kind text NOT NULL,
    id text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);

-- Lane records read behind a gap.
CREATE TABLE IF NOT EXISTS kernel.spool (
    topic text NOT NULL,
    partition integer NOT NULL,
    service text NOT NULL,
    incarnation integer NOT NULL,
    seq bigint NOT NULL,
    off bigint NOT NULL,
    appended_ms bigint NOT NULL,
    key bytea,
    value bytea,
    headers jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, service, incarnation, seq)
);

-- What the state topics show, as read back.
CREATE TABLE IF NOT EXISTS kernel.published (
    topic text NOT NULL,
    id text NOT NULL,
    version bigint NOT NULL,
    off bigint NOT NULL,
    PRIMARY KEY (topic, id)
) WITH (fillfactor = 80);

-- What a database made earlier lacks; asked first, because ALTER TABLE keeps even readers out, also where it has nothing to do.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'kernel.position'::regclass AND attname = 'began') THEN
        ALTER TABLE kernel.position ADD COLUMN began bigint NOT NULL DEFAULT 0;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'kernel.timer'::regclass AND attname = 'trace') THEN
        ALTER TABLE kernel.timer ADD COLUMN trace uuid;
    END IF;
END $$;
