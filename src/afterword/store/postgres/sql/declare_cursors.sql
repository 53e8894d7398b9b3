-- A new rule continues where an earlier release stopped with the same rule. A rule that was not declared while another one was in
-- force starts anew.
INSERT INTO afterword.cursors (name, rule, next_at, seen_at)
SELECT
    name, rule,
    coalesce((SELECT shown.next_at FROM afterword.schedules AS shown WHERE shown.name = said.name AND shown.rule = said.rule), to_timestamp(next_at)),
    now()
FROM unnest(CAST(:names AS text[]), CAST(:rules AS text[]), CAST(:next_ats AS double precision[])) AS said (name, rule, next_at)
ORDER BY name -- in one order, or processes that start together could wait for each other
ON CONFLICT (name, rule) DO UPDATE SET
    seen_at = excluded.seen_at,
    next_at = CASE
        WHEN cursors.seen_at < now() - CAST(:unseen AS double precision) * interval '1 second' AND EXISTS (
            SELECT 1 FROM afterword.cursors AS other WHERE other.name = excluded.name AND other.seen_at > cursors.seen_at
        ) THEN excluded.next_at
        ELSE cursors.next_at
    END
RETURNING name
