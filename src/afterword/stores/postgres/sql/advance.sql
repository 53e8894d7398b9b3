UPDATE afterword.schedules SET next_at = to_timestamp(:next_at), last_at = coalesce(to_timestamp(CAST(:last_at AS double precision)), last_at)
WHERE name = :name AND next_at = to_timestamp(:seen_at) AND NOT paused
RETURNING name
