INSERT INTO repository (repo_id, git_dir, first_event_at, last_event_at) VALUES ('r1', x'2f7372762f722e676974', 1, 2);
INSERT INTO event (event_id, seq, repo_id, kind, peer_uid, ready_at, received_at, payload) VALUES ('e1', 1, 'r1', 'push', 1000, 1, 1, x'00');
INSERT INTO intent (event_id, repo_id, peer_uid, received_at, payload) VALUES ('i1', 'r1', 1000, 1, x'00');
INSERT INTO tip (repo_id, ref, oid, version, at) VALUES ('r1', x'726566732f68656164732f6d61696e', 'aa', 1, 1);
INSERT INTO lane (site_id, repo_id, class, ready_at) VALUES ('s1', 'r1', 0, 1);
INSERT INTO entity (site_id, repo_id, kind, entity_id, class, event_id, sequence, state, ready_at, added_at, issue_keys, body, body_hash)
  VALUES ('s1', 'r1', 'commit', 'aa', 0, 'e1', 1, 'ready', 1, 1, ' ABC-1 ', x'00', 'h');
UPDATE meta SET value = 1 WHERE name IN ('sequence', 'event');
