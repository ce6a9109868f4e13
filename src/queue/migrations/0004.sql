-- In whose name an effect is carried out: Jira's own id of an account, or empty for the site's account.
ALTER TABLE effect ADD COLUMN actor TEXT NOT NULL DEFAULT '';

-- People's own accounts in Jira. What opens one is sealed with a key that is not in this store.
CREATE TABLE login (
  site_id TEXT NOT NULL,
  holder TEXT NOT NULL, -- a person of the table, or else a user of this server
  account TEXT NOT NULL, -- Jira's own id of it
  sign_in TEXT, -- the name it signs in with, on Data Center
  name TEXT NOT NULL, -- what Jira calls them
  sealed BLOB NOT NULL,
  since BIGINT NOT NULL,
  used_at BIGINT,
  refused_at BIGINT,
  refusal TEXT, -- why it opens nothing at the moment
  PRIMARY KEY (site_id, holder));
