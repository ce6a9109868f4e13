UPDATE entity SET orders = 'k3' WHERE entity_id = 'aa';
INSERT INTO left_to_jira (effect_key, site_id, repo_id, entity_id, at) VALUES ('k3', 's1', 'r1', 'aa', 1);
