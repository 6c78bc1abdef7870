-- +goose Up
-- Holders of client keys that the operations API made. Of a key there is its sum only.
CREATE TABLE clients (
  name           TEXT PRIMARY KEY,
  key_sum        BLOB NOT NULL UNIQUE, -- SHA-256
  rpm            INTEGER NOT NULL,     -- 0 = no limit, as the next three
  tpm            INTEGER NOT NULL,
  daily_budget   REAL NOT NULL,        -- units of the currency
  monthly_budget REAL NOT NULL,
  models         TEXT NOT NULL,        -- JSON array; empty = all
  force          TEXT NOT NULL,        -- JSON array: capabilities that every backend of its requests must have
  expires_at     INTEGER,              -- Unix milliseconds, UTC; NULL = never
  enabled        INTEGER NOT NULL,
  created_at     INTEGER NOT NULL,     -- Unix milliseconds, UTC
  updated_at     INTEGER NOT NULL
);

-- Who changed what by the operations API, when, and from where; never a secret.
CREATE TABLE audit (
  id         INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL, -- Unix milliseconds, UTC
  actor      TEXT NOT NULL,
  remote     TEXT NOT NULL,
  action     TEXT NOT NULL,
  target     TEXT NOT NULL,
  detail     TEXT NOT NULL,
  request_id TEXT NOT NULL
);
