-- Where Jira is the one to carry out the orders of commits. A row that was there before gives it no leave.

-- The keys of the orders that Jira may carry out, the same as the ledger's, between blanks; empty: none.
ALTER TABLE entity ADD COLUMN orders TEXT NOT NULL DEFAULT '';
-- Why the orders of a commit are not left to Jira.
ALTER TABLE entity ADD COLUMN denied TEXT;

-- Orders that were left to Jira, each once: whoever claims a commit puts its orders in here before it is sent.
CREATE TABLE left_to_jira (
  effect_key TEXT PRIMARY KEY,
  site_id TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  entity_id TEXT NOT NULL, -- the commit with which they were left
  at BIGINT NOT NULL);
CREATE INDEX left_to_jira_entity ON left_to_jira (entity_id, repo_id, site_id);
CREATE INDEX left_to_jira_at ON left_to_jira (at);
