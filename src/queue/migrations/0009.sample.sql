INSERT INTO run (run_id, repo_id, site_id, state, by_itself, since, depth, issue, asked_at, turn_at, began_at, ended_at, worked_ms, tips,
                 total, seen, trail, keyed, owed, errors, note)
  VALUES (1, 'r1', 's1', 'done', 1, NULL, NULL, NULL, 1, 1, 2, 3, 1, x'aa', 3, 3, 'aa', 2, 2, 0, NULL),
         (2, 'r1', 's1', 'running', 0, 5, 10, 'ABC-1', 4, 4, 5, NULL, 1, x'aa', 3, 1, 'aa', 1, 1, 1, 'it is slow');
UPDATE meta SET value = 2 WHERE name = 'run';
