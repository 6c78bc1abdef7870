-- +goose Up
ALTER TABLE cards ADD COLUMN acting INTEGER NOT NULL DEFAULT 0; -- 1: something is to be done in Alertmanager
ALTER TABLE cards ADD COLUMN act_at INTEGER NOT NULL DEFAULT 0; -- not before
CREATE INDEX cards_acting ON cards (act_at) WHERE acting = 1;

-- Presses of buttons that were heard of, so that each counts once.
CREATE TABLE presses (
    event_id TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    result   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX presses_at ON presses (at);
