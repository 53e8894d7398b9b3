WITH moved AS (
    UPDATE afterword.cursors SET next_at = to_timestamp(:next_at)
    WHERE name = :name AND rule = :rule AND next_at = to_timestamp(:seen_at)
        AND NOT EXISTS (SELECT 1 FROM afterword.schedules WHERE schedules.name = :name AND paused)
    RETURNING name, rule, next_at
)
UPDATE afterword.schedules AS shown SET
    next_at = CASE WHEN shown.rule = moved.rule THEN moved.next_at ELSE shown.next_at END,
    last_at = greatest(to_timestamp(CAST(:last_at AS double precision)), last_at)
FROM moved WHERE shown.name = moved.name
RETURNING shown.name
