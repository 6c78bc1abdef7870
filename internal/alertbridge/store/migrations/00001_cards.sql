-- +goose Up
CREATE TABLE cards (
    id         TEXT PRIMARY KEY,
    receiver   TEXT NOT NULL,
    group_key  TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state      TEXT NOT NULL,
    rank       INTEGER NOT NULL,    -- of the severity, 0 the most urgent
    revision   INTEGER NOT NULL,
    waiting    INTEGER NOT NULL,    -- 1: an alert waits for a judgement
    changed_at INTEGER NOT NULL,    -- Unix milliseconds, as every time here
    closed_at  INTEGER,             -- NULL while open
    body       TEXT NOT NULL,       -- the card as JSON
    UNIQUE (receiver, group_key, generation)
) STRICT;
CREATE UNIQUE INDEX cards_open ON cards (group_key, receiver) WHERE closed_at IS NULL;
CREATE INDEX cards_waiting ON cards (id) WHERE waiting = 1 AND closed_at IS NULL;
CREATE INDEX cards_closed ON cards (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX cards_changed ON cards (changed_at);

-- One way to one receiver for one card.
CREATE TABLE legs (
    card_id       TEXT NOT NULL REFERENCES cards (id) ON DELETE CASCADE,
    channel       TEXT NOT NULL,    -- app, webhook
    lane          TEXT NOT NULL,    -- receiver/channel
    rank          INTEGER NOT NULL,
    pending       INTEGER NOT NULL, -- 1: something is to be sent
    pending_since INTEGER NOT NULL,
    next_at       INTEGER NOT NULL, -- not before
    body          TEXT NOT NULL,    -- the leg as JSON
    PRIMARY KEY (card_id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX legs_pending ON legs (rank, pending_since) WHERE pending = 1;

CREATE TABLE dead (
    id          TEXT PRIMARY KEY,
    card_id     TEXT NOT NULL,
    receiver    TEXT NOT NULL,
    channel     TEXT NOT NULL,      -- empty: the receiver has none
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    title       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    replayed_at INTEGER             -- NULL while dead
) STRICT;
CREATE INDEX dead_created ON dead (created_at);
CREATE INDEX dead_reason ON dead (reason) WHERE replayed_at IS NULL;

CREATE TABLE audit (
    id         TEXT PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT NOT NULL,
    detail     TEXT NOT NULL,
    request_id TEXT NOT NULL
) STRICT;

CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
