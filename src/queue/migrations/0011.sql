-- Links that a person has put right: what a commit or a branch is linked to, whatever its own text says.
CREATE TABLE correction (
  repo_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('commit', 'branch')),
  entity_id TEXT NOT NULL,
  added TEXT NOT NULL, -- keys, between blanks
  removed TEXT NOT NULL, -- keys, between blanks
  alone SMALLINT NOT NULL, -- 1: only what is added links it
  own TEXT NOT NULL, -- what linked it before anything was put right, between blanks
  who TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, kind, entity_id));
CREATE INDEX correction_named ON correction (entity_id);
