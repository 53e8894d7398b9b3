INSERT INTO afterword.schedules (name, task, rule, words, next_at, seen_at)
SELECT name, task, rule, words, to_timestamp(next_at), now()
FROM unnest(
    CAST(:names AS text[]), CAST(:tasks AS text[]), CAST(:rules AS text[]), CAST(:words AS text[]), CAST(:next_ats AS double precision[])
) AS said (name, task, rule, words, next_at)
ORDER BY name -- those who start together wait for each other in one order
ON CONFLICT (name) DO UPDATE SET
    task = excluded.task, words = excluded.words, seen_at = excluded.seen_at, rule = excluded.rule,
    next_at = CASE WHEN schedules.rule = excluded.rule THEN schedules.next_at ELSE excluded.next_at END
RETURNING name
