-- What Jira showed of issues, to be asked again without Jira. By account, because another one may see other issues.
CREATE TABLE issue (
  site_id TEXT NOT NULL,
  actor TEXT NOT NULL, -- the account that looked, as in effects; '' for the site's
  issue_key TEXT NOT NULL, -- as it was asked for
  shown BLOB, -- CBOR; NULL where there is no such issue
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (site_id, actor, issue_key)) WITHOUT ROWID;
CREATE INDEX issue_seen ON issue (seen_at);
