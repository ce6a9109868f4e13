INSERT INTO correction (repo_id, kind, entity_id, added, removed, alone, own, who, at)
  VALUES ('r1', 'commit', 'aa', ' ABC-2 ', '', 1, ' ABC-1 ', 'root', 1), ('r1', 'branch', 'main', '', ' ABC-1 ', 0, ' ABC-1 ', 'root', 2);
