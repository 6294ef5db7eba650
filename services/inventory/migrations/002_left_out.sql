-- What a count's stop at zero left out of the shelf: consumed by the late reports that explain it.

ALTER TABLE state."level" ADD COLUMN left_out bigint NOT NULL DEFAULT 0 CONSTRAINT left_out_is_not_negative CHECK (left_out >= 0);
