-- +goose Up
-- A digest is a card that stands for many groups of one lane while they are more
-- than its receiver is to get cards of.
ALTER TABLE cards ADD COLUMN lane TEXT;                           -- of a digest; NULL: an ordinary card
ALTER TABLE cards ADD COLUMN alertname TEXT NOT NULL DEFAULT '';  -- what digests count by
ALTER TABLE cards ADD COLUMN severity TEXT NOT NULL DEFAULT '';
ALTER TABLE cards ADD COLUMN subject TEXT NOT NULL DEFAULT '';
CREATE INDEX cards_digests ON cards (lane, id) WHERE lane IS NOT NULL AND closed_at IS NULL;

ALTER TABLE legs ADD COLUMN digest TEXT;                      -- the digest that tells of the card in its place
ALTER TABLE legs ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;  -- the digest's revision that the card's last change made
CREATE INDEX legs_digest ON legs (digest) WHERE digest IS NOT NULL;
CREATE INDEX legs_held ON legs (lane, rank, pending_since) WHERE digest IS NOT NULL AND pending = 0;
