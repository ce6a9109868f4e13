INSERT INTO effect (effect_key, site_id, repo_id, lane, event_id, seq, place, ordinal, part, commit_id, command, author, authored_at, pusher,
                    person, state, outcome, ready_at, settle_at, body, body_hash, note, added_at, settled_at)
  VALUES ('k4', 's1', 'r1', 'ABC-1', 'e1', 1, 0, 2, 0, 'aa', '#time 1h', 'Ann <ann@example.org>', 1, 'ann',
          'user ann', 'settled', 7, 1, 1, x'00', 'h', NULL, 1, 7);
INSERT INTO news (person, told, mailed) VALUES ('user ann', 7, 0);
UPDATE meta SET value = 7 WHERE name = 'outcome';
