INSERT INTO read_back (site_id, what, way, since) VALUES ('s1', 'comment', 'property', 1), ('s1', 'worklog', 'text', 2);
