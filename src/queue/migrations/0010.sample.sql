INSERT INTO issue (site_id, actor, issue_key, shown, seen_at)
  VALUES ('s1', '', 'ABC-1', x'80', 1), ('s1', '', 'ABC-2', NULL, 2);
