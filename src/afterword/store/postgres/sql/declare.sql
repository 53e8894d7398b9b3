INSERT INTO afterword.schedules (name, task, rule, words, next_at, seen_at)
SELECT name, task, rule, words, cursors.next_at, now()
FROM unnest(CAST(:names AS text[]), CAST(:tasks AS text[]), CAST(:rules AS text[]), CAST(:words AS text[])) AS said (name, task, rule, words)
JOIN afterword.cursors USING (name, rule)
ORDER BY name -- in one order, or processes that start together could wait for each other
ON CONFLICT (name) DO UPDATE SET
    task = excluded.task, words = excluded.words, seen_at = excluded.seen_at, rule = excluded.rule,
    next_at = excluded.next_at
RETURNING name
