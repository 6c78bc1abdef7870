-- +goose Up
CREATE TABLE jobs (
  id           TEXT PRIMARY KEY,
  kind         TEXT NOT NULL,
  schedule_key TEXT NOT NULL,
  -- newest slot accounted for, Unix milliseconds
  cursor       INTEGER NOT NULL,
  facts        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id           TEXT PRIMARY KEY,
  job          TEXT NOT NULL,
  scheduled_at INTEGER NOT NULL,
  trigger      TEXT NOT NULL,
  note         TEXT NOT NULL DEFAULT '',
  started_at   INTEGER NOT NULL,
  -- 0 and '' until the run has ended
  finished_at  INTEGER NOT NULL DEFAULT 0,
  outcome      TEXT NOT NULL DEFAULT '',
  reason       TEXT NOT NULL DEFAULT '',
  detail       TEXT NOT NULL DEFAULT '',
  exit_code    INTEGER NOT NULL DEFAULT -1,
  attempt      INTEGER NOT NULL DEFAULT 0,
  -- the driver's process group and when its leader was born
  pid          INTEGER NOT NULL DEFAULT 0,
  born         INTEGER NOT NULL DEFAULT 0,
  -- the process that runs it
  runner_pid   INTEGER NOT NULL,
  runner_born  INTEGER NOT NULL,
  UNIQUE (job, scheduled_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_job ON runs (job, started_at);
CREATE INDEX runs_open ON runs (job) WHERE outcome = '';

CREATE TABLE run_logs (
  run TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
  at  INTEGER NOT NULL,
  log TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pings (
  id   INTEGER PRIMARY KEY,
  job  TEXT NOT NULL,
  at   INTEGER NOT NULL,
  kind TEXT NOT NULL,
  exit_status INTEGER NOT NULL,
  rid  TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE INDEX pings_by_job ON pings (job, at);
CREATE INDEX pings_by_time ON pings (at);

CREATE TABLE checks (
  name  TEXT PRIMARY KEY,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE notices (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  check_name TEXT NOT NULL,
  target     TEXT NOT NULL,
  body       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  attempts   INTEGER NOT NULL DEFAULT 0,
  next_at    INTEGER NOT NULL,
  -- '' while it is to be delivered
  result     TEXT NOT NULL DEFAULT '',
  done_at    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_open ON notices (target, id) WHERE result = '';

CREATE TABLE marks (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
