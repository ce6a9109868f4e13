-- How what we marked at a site is read back, as `agent doctor --write-probe` found out on a real issue.
CREATE TABLE read_back (
  site_id TEXT NOT NULL,
  what TEXT NOT NULL, -- comment or worklog
  way TEXT NOT NULL, -- list, ids, property or text
  since BIGINT NOT NULL, -- from when on it was this way
  PRIMARY KEY (site_id, what));
