UPDATE effect SET actor = '712020:1' WHERE effect_key = 'k1';
INSERT INTO login (site_id, holder, account, name, sealed, since, used_at, refused_at, refusal)
  VALUES ('s1', 'Ann Example', '712020:1', 'Ann', x'01', 1, 2, NULL, NULL);
