-- +goose Up
-- Which rows the sums hold: a row that has ended carries the number of the fold that adds
-- it, and the one line of folds says which fold comes next. So rows with that number are
-- not in the sums yet, and no others. None of them has an id below floor, which saves
-- looking at all rows after a crash.
ALTER TABLE requests ADD COLUMN fold INTEGER NOT NULL DEFAULT 0; -- 0 = open, or from before there were folds

CREATE TABLE folds (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL,
  floor  INTEGER NOT NULL
);
INSERT INTO folds (one, number, floor) VALUES (1, 1, 0);
