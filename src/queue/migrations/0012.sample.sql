INSERT INTO issue_key (site_id, old, present, looked_at, added_at)
  VALUES ('s1', 'OLD-1', 'NEW-7', 2, 1), ('s1', 'UTF-8', NULL, 2, 1), ('s1', 'ABC-9', NULL, NULL, 3);
