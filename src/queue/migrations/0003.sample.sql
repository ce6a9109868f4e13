INSERT INTO effect (effect_key, site_id, repo_id, lane, event_id, seq, place, ordinal, part, commit_id, command, author, authored_at, pusher,
                    state, refusal, ready_at, settle_at, body, body_hash, note, added_at, settled_at, repeats)
  VALUES ('k3', 's1', 'r1', 'ABC-1', 'e1', 2, 0, 0, 0, 'bb', '#comment', 'Ann <ann@example.org>', 1, 'ann',
          'refused', 'policy', 1, 1, x'00', 'h', 'commit aa ordered the same', 1, 1, 'k1');
