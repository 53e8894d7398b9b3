INSERT INTO afterword_schedules (name, task, rule, words, next_at, seen_at)
VALUES (:name, :task, :rule, :words, (SELECT next_at FROM afterword_cursors WHERE name = :name AND rule = :rule), :now)
ON CONFLICT (name) DO UPDATE SET
    task = excluded.task, words = excluded.words, seen_at = excluded.seen_at, next_at = excluded.next_at, rule = excluded.rule
