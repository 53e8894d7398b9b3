-- A new rule continues where an earlier release stopped with the same rule. A rule that was not declared while another one was in
-- force starts anew.
INSERT INTO afterword_cursors (name, rule, next_at, seen_at)
VALUES (:name, :rule, coalesce((SELECT next_at FROM afterword_schedules WHERE name = :name AND rule = :rule), :next_at), :now)
ON CONFLICT (name, rule) DO UPDATE SET
    seen_at = excluded.seen_at,
    next_at = iif(
        seen_at < :now - :unseen
        AND EXISTS (SELECT 1 FROM afterword_cursors AS other WHERE other.name = :name AND other.seen_at > afterword_cursors.seen_at),
        excluded.next_at, next_at
    )
