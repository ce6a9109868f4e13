-- Times are milliseconds since the epoch by the store's own clock. Ids are made by us, never by the
-- engine. The text runs on SQLite and on PostgreSQL, where BLOB reads BYTEA.

-- A repository as we have met it: the id is for ever, the path is the last place it was seen at.
CREATE TABLE repository (
  repo_id TEXT PRIMARY KEY,
  git_dir BLOB NOT NULL,
  account TEXT NOT NULL DEFAULT '',
  baseline BIGINT NOT NULL DEFAULT 0,
  first_event_at BIGINT NOT NULL,
  last_event_at BIGINT NOT NULL,
  trouble TEXT);

-- What hooks and the reconciler told us, whole, in the order it was stored.
CREATE TABLE event (
  event_id TEXT PRIMARY KEY,
  seq BIGINT NOT NULL UNIQUE,
  repo_id TEXT NOT NULL REFERENCES repository(repo_id),
  kind TEXT NOT NULL CHECK (kind IN ('push', 'found')),
  peer_uid BIGINT NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'dead')),
  attempts INTEGER NOT NULL DEFAULT 0,
  ready_at BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  settled_at BIGINT,
  note TEXT,
  payload BLOB NOT NULL);
CREATE INDEX event_queued ON event (ready_at, seq, repo_id) WHERE state = 'queued';
CREATE INDEX event_settled ON event (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX event_repository ON event (repo_id, seq);

-- Refs that are about to move, until their push is confirmed or looked into.
CREATE TABLE intent (
  event_id TEXT PRIMARY KEY,
  repo_id TEXT NOT NULL,
  peer_uid BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  payload BLOB NOT NULL);
CREATE INDEX intent_repository ON intent (repo_id);

-- Our snapshot of the refs: what each pointed at when the event of that version was stored.
CREATE TABLE tip (
  repo_id TEXT NOT NULL,
  ref BLOB NOT NULL,
  oid TEXT NOT NULL, -- empty: the ref was deleted
  version BIGINT NOT NULL, -- seq of the event, 0 for the baseline
  at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, ref));

-- The turn of one repository at one site: 0 live, 2 backfill. ready_at is NULL when nothing is owed.
CREATE TABLE lane (
  site_id TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  class SMALLINT NOT NULL,
  ready_at BIGINT,
  lease_owner TEXT,
  lease_epoch BIGINT NOT NULL DEFAULT 0,
  lease_until BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (site_id, repo_id, class));
CREATE INDEX lane_ready ON lane (site_id, class, ready_at) WHERE ready_at IS NOT NULL;

-- What a site is owed, or has been told, about one commit, branch or repository: the outbox.
-- Jira's development data is an upsert, so this is one too: a newer state takes the place of an
-- older one that has not left yet. sequence is Jira's updateSequenceId and only ever grows.
CREATE TABLE entity (
  site_id TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('commit', 'branch', 'repository')),
  entity_id TEXT NOT NULL,
  class SMALLINT NOT NULL,
  event_id TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ready', 'settled', 'parked')),
  ready_at BIGINT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  unknown INTEGER NOT NULL DEFAULT 0,
  added_at BIGINT NOT NULL,
  settled_at BIGINT,
  issue_keys TEXT NOT NULL,
  body BLOB NOT NULL,
  body_hash TEXT NOT NULL,
  note TEXT,
  PRIMARY KEY (site_id, repo_id, kind, entity_id));
CREATE INDEX entity_ready ON entity (site_id, repo_id, class, kind, ready_at, sequence) WHERE state = 'ready';
CREATE INDEX entity_named ON entity (entity_id);
CREATE INDEX entity_settled ON entity (settled_at) WHERE state = 'settled';

-- Counters and facts about the store itself.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO meta (name, value) VALUES ('sequence', 0), ('event', 0), ('dropped_keys', 0);
