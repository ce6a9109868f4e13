-- Synchronisations of history: one row a repository and run. What was read up to the cursor is in the outbox, so
-- whoever goes on begins there.
CREATE TABLE run (
  run_id BIGINT PRIMARY KEY,
  repo_id TEXT NOT NULL,
  site_id TEXT NOT NULL DEFAULT '', -- that of its last turn
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'paused', 'cancelled', 'done', 'failed')),
  by_itself SMALLINT NOT NULL, -- 1: the repository was met for the first time
  since BIGINT, -- only commits of that second and later
  depth BIGINT, -- only so many of the newest
  issue TEXT, -- only what names it, and that anew
  asked_at BIGINT NOT NULL,
  turn_at BIGINT NOT NULL, -- when its next turn may begin; the longest ago goes first
  began_at BIGINT,
  ended_at BIGINT,
  worked_ms BIGINT NOT NULL DEFAULT 0,
  tips BLOB, -- where it begins, ids one after the other; NULL until it has begun
  total BIGINT, -- commits there are to be read
  seen BIGINT NOT NULL DEFAULT 0, -- commits that were read
  trail TEXT NOT NULL DEFAULT '', -- the last of them
  keyed BIGINT NOT NULL DEFAULT 0, -- of these, those that name an issue
  owed BIGINT NOT NULL DEFAULT 0, -- what was news to the site
  errors BIGINT NOT NULL DEFAULT 0,
  note TEXT);
CREATE INDEX run_open ON run (turn_at) WHERE state IN ('waiting', 'running');
CREATE INDEX run_repository ON run (repo_id, run_id);
CREATE INDEX entity_parked ON entity (site_id, repo_id) WHERE state = 'parked';
INSERT INTO meta (name, value) VALUES ('run', 0);
