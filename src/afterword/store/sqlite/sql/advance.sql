UPDATE afterword_cursors SET next_at = :next_at
WHERE name = :name AND rule = :rule AND next_at = :seen_at AND (SELECT NOT paused FROM afterword_schedules WHERE name = :name)
RETURNING name
