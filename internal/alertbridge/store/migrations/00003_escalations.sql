-- +goose Up
ALTER TABLE cards ADD COLUMN opened_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cards ADD COLUMN steps INTEGER NOT NULL DEFAULT 0; -- of its escalation, done
ALTER TABLE cards ADD COLUMN acked INTEGER NOT NULL DEFAULT 0; -- 1: somebody has taken it on
UPDATE cards SET opened_at = changed_at, acked = body ->> 'ack' IS NOT NULL;
CREATE INDEX cards_escalating ON cards (receiver, steps, opened_at) WHERE closed_at IS NULL AND state = 'firing' AND acked = 0;
CREATE INDEX cards_acked ON cards (group_key) WHERE closed_at IS NULL AND acked = 1;

-- How often people were buzzed for money, by day of the configured zone.
CREATE TABLE urgents (
    day     TEXT NOT NULL,
    channel TEXT NOT NULL,
    spent   INTEGER NOT NULL,
    PRIMARY KEY (day, channel)
) STRICT, WITHOUT ROWID;
