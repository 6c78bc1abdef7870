-- +goose Up
-- One row a request. What is filtered by or summed is a column; what is only read
-- together stands in detail and timeline, as JSON, since every column costs time on
-- the path of every request. id is time-ordered: milliseconds << 20 | counter.
CREATE TABLE requests (
  id           INTEGER PRIMARY KEY,
  request_id   TEXT,             -- the client's own x-request-id; NULL where it sent none
  status       TEXT NOT NULL,
  http_status  INTEGER NOT NULL, -- what the client got; 0 while open
  class        TEXT NOT NULL,    -- of the failure; '' where there was none
  model        TEXT NOT NULL,    -- as asked for
  backend      TEXT NOT NULL,    -- that answered; '' where none did
  pool         TEXT NOT NULL,
  client       TEXT NOT NULL,
  attempts     INTEGER NOT NULL, -- calls made
  started_at   INTEGER NOT NULL, -- Unix milliseconds, UTC
  duration_us  INTEGER NOT NULL,
  ttfb_us      INTEGER NOT NULL,
  input        INTEGER NOT NULL,
  output       INTEGER NOT NULL,
  cache_read   INTEGER NOT NULL,
  cache_write  INTEGER NOT NULL,
  cost         INTEGER NOT NULL, -- thousand-millionths of the currency's unit
  detail       TEXT NOT NULL,
  timeline     TEXT              -- NULL where one backend answered at once
);
CREATE INDEX requests_by_request_id ON requests (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX requests_open ON requests (id) WHERE status IN ('pending', 'streaming');
CREATE INDEX requests_troubled ON requests (id) WHERE timeline IS NOT NULL;

CREATE TABLE backend_states (
  name       TEXT PRIMARY KEY,
  state      TEXT NOT NULL, -- JSON
  updated_at INTEGER NOT NULL
);
