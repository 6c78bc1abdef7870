-- +goose Up
-- What a digest tells of and fires, or is open, is found without looking at all
-- that is over: the rank of a held leg is beyond every severity's once its card
-- does not fire (8), or is closed (9).
UPDATE legs SET rank = 8 WHERE digest IS NOT NULL AND pending = 0 AND card_id IN (SELECT id FROM cards WHERE state NOT IN ('firing', 'settling'));
UPDATE legs SET rank = 9 WHERE digest IS NOT NULL AND pending = 0 AND card_id IN (SELECT id FROM cards WHERE closed_at IS NOT NULL);
DROP INDEX legs_digest;
CREATE INDEX legs_digest ON legs (digest, rank, mark) WHERE digest IS NOT NULL;
