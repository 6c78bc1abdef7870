-- +goose Up
-- What is remembered of open tasks. Times are Unix milliseconds, 0 = never.
CREATE TABLE tasks (
  agent       TEXT NOT NULL,
  source      TEXT NOT NULL,
  id          TEXT NOT NULL,
  -- fingerprint and state when it was last read
  mark        TEXT NOT NULL,
  state       TEXT NOT NULL,
  started_at  INTEGER NOT NULL,
  progress_at INTEGER NOT NULL,
  stall       TEXT NOT NULL,
  rounds      INTEGER NOT NULL,
  paused_at   INTEGER NOT NULL,
  seen_at     INTEGER NOT NULL,
  PRIMARY KEY (agent, source, id)
) STRICT, WITHOUT ROWID;
