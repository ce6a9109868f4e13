-- Effects: orders of commit messages, each carried out in Jira once. A row is the memory that it was,
-- so it stays until the same order could no longer come again. The states are those of protocol.rs.
CREATE TABLE effect (
  effect_key TEXT PRIMARY KEY,
  site_id TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  lane TEXT NOT NULL, -- the issue's key as it was written; one effect of a lane is in flight at a time
  event_id TEXT NOT NULL,
  -- The order in a lane: of the event, of the commit in it, of the order in the message, of what follows from it.
  seq BIGINT NOT NULL,
  place BIGINT NOT NULL,
  ordinal BIGINT NOT NULL,
  part SMALLINT NOT NULL,
  commit_id TEXT NOT NULL,
  command TEXT NOT NULL, -- for people, without texts
  author TEXT NOT NULL,
  authored_at BIGINT NOT NULL,
  pusher TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('planned', 'ready', 'intent', 'unknown', 'probing', 'settled', 'refused', 'parked')),
  refusal TEXT CHECK (refusal IN ('unverified', 'age', 'import', 'policy', 'jira')), -- only in refused
  epoch BIGINT NOT NULL DEFAULT 0,
  owner TEXT,
  lease_until BIGINT NOT NULL DEFAULT 0,
  ready_at BIGINT NOT NULL,
  intent_at BIGINT,
  settle_at BIGINT NOT NULL,
  sweep_at BIGINT, -- when to look for doubles
  attempts INTEGER NOT NULL DEFAULT 0,
  probes INTEGER NOT NULL DEFAULT 0,
  issue_id TEXT, -- Jira's own, which stays when the issue moves
  remote_id TEXT, -- of what was made
  body BLOB NOT NULL,
  body_hash TEXT NOT NULL,
  note TEXT,
  added_at BIGINT NOT NULL,
  settled_at BIGINT);
CREATE INDEX effect_due ON effect (site_id, seq, place, ordinal, part) WHERE state IN ('ready', 'intent', 'unknown', 'probing');
CREATE INDEX effect_open ON effect (site_id, lane, seq, place, ordinal, part) WHERE state IN ('ready', 'intent', 'unknown', 'probing');
CREATE INDEX effect_lane ON effect (lane);
CREATE INDEX effect_issue ON effect (site_id, issue_id) WHERE issue_id IS NOT NULL;
CREATE INDEX effect_commit ON effect (commit_id);
CREATE INDEX effect_pusher ON effect (pusher, added_at);
CREATE INDEX effect_sweep ON effect (site_id, sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX effect_settled ON effect (settled_at) WHERE settled_at IS NOT NULL;

-- What was decided about effects, for ever and in order; each row's hash covers the one before it.
CREATE TABLE audit (
  seq BIGINT PRIMARY KEY,
  at BIGINT NOT NULL,
  effect_key TEXT NOT NULL,
  what TEXT NOT NULL,
  who TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  command TEXT NOT NULL,
  because TEXT NOT NULL,
  remote_id TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL);
CREATE INDEX audit_effect ON audit (effect_key, seq);

-- memory: the moment from which this store knows of every effect; 0 in a new one, -1 in a copy.
INSERT INTO meta (name, value) VALUES ('memory', 0), ('audit', 0), ('doubled', 0);
