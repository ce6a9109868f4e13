-- Whose order an effect is, so that they can be told what became of it; see people.rs. Empty: nobody is told, which
-- holds for all that was ordered before.
ALTER TABLE effect ADD COLUMN person TEXT NOT NULL DEFAULT '';
-- When Jira did it or refused it, or it was parked; NULL as long as none of that is so. Later ones have greater numbers,
-- and no two the same, whatever the clock does: meta.outcome is the last one.
ALTER TABLE effect ADD COLUMN outcome BIGINT;
UPDATE effect SET outcome = coalesce(settled_at,
    (SELECT max(a.at) FROM audit a WHERE a.effect_key = effect.effect_key AND a.what = 'parked'), added_at)
  WHERE state IN ('settled', 'parked') OR state = 'refused' AND refusal = 'jira';
CREATE INDEX effect_outcome ON effect (person, outcome) WHERE outcome IS NOT NULL;
CREATE INDEX effect_trouble ON effect (outcome) WHERE outcome IS NOT NULL AND state IN ('refused', 'parked');

-- The outcome up to which a person was told in an answer to a push, and by mail.
CREATE TABLE news (
  person TEXT PRIMARY KEY,
  told BIGINT NOT NULL DEFAULT 0,
  mailed BIGINT NOT NULL DEFAULT 0);
INSERT INTO meta (name, value) VALUES ('outcome', (SELECT coalesce(max(outcome), 0) FROM effect));
