-- The key of the same order of a commit that this one took the place of: refused for that, the order counts as taken up.
ALTER TABLE effect ADD COLUMN repeats TEXT;
