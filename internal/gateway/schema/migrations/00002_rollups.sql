-- +goose Up
-- Sums over the requests that have ended, written in the commit that holds their rows.
-- A request counts in the hour and the day that it began in.
CREATE TABLE hourly (
  hour        INTEGER NOT NULL, -- whole hours since 1970, UTC
  backend     TEXT NOT NULL,    -- '' where none answered
  model       TEXT NOT NULL,    -- as asked for; 'other' where it was not known
  client      TEXT NOT NULL,
  requests    INTEGER NOT NULL,
  errors      INTEGER NOT NULL, -- failed or interrupted
  input       INTEGER NOT NULL,
  output      INTEGER NOT NULL,
  cache_read  INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  reasoning   INTEGER NOT NULL, -- a part of output
  cost        INTEGER NOT NULL, -- thousand-millionths of the currency's unit
  duration_us INTEGER NOT NULL,
  ttfb_us     INTEGER NOT NULL, -- of the ttfb_count requests that had a first byte
  ttfb_count  INTEGER NOT NULL,
  PRIMARY KEY (hour, backend, model, client)
) WITHOUT ROWID;

CREATE TABLE daily (
  day         INTEGER NOT NULL, -- days since 1970 by the calendar of the timezone
  pool        TEXT NOT NULL,
  backend     TEXT NOT NULL,
  client      TEXT NOT NULL,
  requests    INTEGER NOT NULL,
  errors      INTEGER NOT NULL,
  input       INTEGER NOT NULL,
  output      INTEGER NOT NULL,
  cache_read  INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  reasoning   INTEGER NOT NULL,
  cost        INTEGER NOT NULL,
  PRIMARY KEY (day, pool, backend, client)
) WITHOUT ROWID;

-- Which backend holds the conversation that a response is part of, and whose it is: no
-- other client goes on from it.
CREATE TABLE response_pins (
  client      TEXT NOT NULL,
  response_id TEXT NOT NULL, -- as the provider named it
  backend     TEXT NOT NULL,
  created_at  INTEGER NOT NULL, -- Unix milliseconds, UTC
  PRIMARY KEY (client, response_id)
) WITHOUT ROWID;
CREATE INDEX response_pins_by_age ON response_pins (created_at);

CREATE TABLE cooldown_events (
  started_at        INTEGER NOT NULL, -- Unix milliseconds, UTC
  backend           TEXT NOT NULL,
  ended_at          INTEGER,          -- NULL while it lasts
  consecutive_count INTEGER NOT NULL,
  cooldown_seconds  REAL NOT NULL,
  response_summary  TEXT NOT NULL,
  PRIMARY KEY (started_at, backend)
) WITHOUT ROWID;
