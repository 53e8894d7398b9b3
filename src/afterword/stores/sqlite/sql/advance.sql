UPDATE afterword_schedules SET next_at = :next_at, last_at = coalesce(:last_at, last_at)
WHERE name = :name AND next_at = :seen_at AND NOT paused
RETURNING name
