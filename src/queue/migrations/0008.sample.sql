UPDATE entity SET gone = 1 WHERE entity_id = 'aa';
UPDATE repository SET absent_at = 1, forgotten_at = 2 WHERE repo_id = 'r1';
INSERT INTO told (site_id, repo_id, kind, entity_id, gone, body_hash) VALUES ('s1', 'r1', 'commit', 'bb', 0, 'h');
INSERT INTO moved (repo_id, old, new, seq, ready_at) VALUES ('r1', 'aa', '', 1, 1);
