-- Find, among the next predecessors, those that do not exist: one seek for each, for any number of followers.
WITH RECURSIVE looked (after, number) AS (
    (SELECT after, 1 FROM afterword.jobs WHERE after > CAST(:last AS uuid) ORDER BY after LIMIT 1)
    UNION ALL
    SELECT next.after, looked.number + 1
    FROM looked
    CROSS JOIN LATERAL (SELECT after FROM afterword.jobs WHERE after > looked.after ORDER BY after LIMIT 1) AS next
    WHERE looked.number < :limit
)
SELECT
    (SELECT count(*) FROM looked),
    (SELECT CAST(after AS text) FROM looked ORDER BY number DESC LIMIT 1),
    ARRAY(
        SELECT CAST(after AS text) FROM looked
        WHERE NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = looked.after)
    )
