INSERT INTO effect (effect_key, site_id, repo_id, lane, event_id, seq, place, ordinal, part, commit_id, command, author, authored_at, pusher,
                    state, epoch, owner, lease_until, ready_at, intent_at, settle_at, attempts, body, body_hash, added_at)
  VALUES ('k1', 's1', 'r1', 'ABC-1', 'e1', 1, 0, 0, 0, 'aa', '#comment', 'Ann <ann@example.org>', 1, 'ann',
          'intent', 2, 'process 1', 9, 1, 2, 3, 1, x'00', 'h', 1);
INSERT INTO effect (effect_key, site_id, repo_id, lane, event_id, seq, place, ordinal, part, commit_id, command, author, authored_at, pusher,
                    state, refusal, ready_at, settle_at, body, body_hash, note, added_at, settled_at)
  VALUES ('k2', 's1', 'r1', 'ABC-1', 'e1', 1, 0, 1, 0, 'aa', '#close', 'Ann <ann@example.org>', 1, '',
          'refused', 'unverified', 1, 1, x'00', 'h', 'nobody vouches for the pusher', 1, 1);
INSERT INTO audit (seq, at, effect_key, what, who, commit_id, command, because, remote_id, previous, hash)
  VALUES (1, 1, 'k1', 'ready', 'ann', 'aa', '#comment', '', '', '', 'h');
UPDATE meta SET value = 1 WHERE name = 'audit';
