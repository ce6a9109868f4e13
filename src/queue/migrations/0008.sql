-- What Jira was told stays known when its row is pruned, and what refs left behind is looked into.

-- Whether Jira is, or was, told to forget it.
ALTER TABLE entity ADD COLUMN gone SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX entity_gone ON entity (repo_id) WHERE gone = 1 AND kind = 'commit';

-- What is left of a settled entity when its row is pruned. One tree where the engine knows how.
CREATE TABLE told (
  site_id TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  gone SMALLINT NOT NULL,
  body_hash TEXT NOT NULL, -- its first 16 digits
  PRIMARY KEY (site_id, repo_id, kind, entity_id)) WITHOUT ROWID;
CREATE INDEX told_gone ON told (repo_id) WHERE gone = 1 AND kind = 'commit';

-- Since when a repository is not where it was, and when Jira was told to forget it.
ALTER TABLE repository ADD COLUMN absent_at BIGINT;
ALTER TABLE repository ADD COLUMN forgotten_at BIGINT;

-- Refs that moved so that commits may have been left behind, or come back.
CREATE TABLE moved (
  repo_id TEXT NOT NULL,
  old TEXT NOT NULL, -- empty: there was none
  new TEXT NOT NULL, -- empty: there is none
  seq BIGINT NOT NULL, -- of the event
  looked SMALLINT NOT NULL DEFAULT 0, -- whether what came back was told
  ready_at BIGINT NOT NULL, -- when what was left behind is told
  PRIMARY KEY (repo_id, old, new));
CREATE INDEX moved_ready ON moved (looked, ready_at);
