-- Issue keys that Jira did not know for development information, and what they lead to.
CREATE TABLE issue_key (
  site_id TEXT NOT NULL,
  old TEXT NOT NULL, -- as it was told
  present TEXT, -- the key its issue has now; NULL: nobody knows of another one
  looked_at BIGINT, -- NULL: not yet
  added_at BIGINT NOT NULL,
  PRIMARY KEY (site_id, old));
CREATE INDEX issue_key_present ON issue_key (present, site_id) WHERE present IS NOT NULL;
CREATE INDEX issue_key_open ON issue_key (site_id, looked_at) WHERE present IS NULL;
