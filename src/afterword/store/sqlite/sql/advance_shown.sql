UPDATE afterword_schedules
SET next_at = iif(rule = :rule, :next_at, next_at), last_at = max(coalesce(:last_at, last_at), coalesce(last_at, :last_at))
WHERE name = :name
