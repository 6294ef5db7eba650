-- What a stop at zero left out of the shelf, and when it stopped last: late reports that explain it consume it.

ALTER TABLE state."level"
    ADD COLUMN left_out bigint NOT NULL DEFAULT 0 CONSTRAINT left_out_is_not_negative CHECK (left_out >= 0),
    ADD COLUMN left_out_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z';
