-- Those of these jobs that a tenant may change: they have the tenant's tag, and so have all that follow them, directly or not. With
-- :stopped, also those that were cancelled because of them, which come back with them.
WITH RECURSIVE reached (root, id) AS (
    SELECT id, id FROM unnest(CAST(:ids AS uuid[])) AS wanted (id)
    UNION
    SELECT reached.root, follower.id
    FROM reached CROSS JOIN LATERAL (
        SELECT id FROM afterword.jobs WHERE after = reached.id
        UNION ALL
        SELECT id FROM afterword.history
        WHERE after = reached.id AND state = 'cancelled' AND after IS NOT NULL AND error = CAST(:stopped AS text)
    ) AS follower
)
SELECT CAST(root AS text)
FROM reached LEFT JOIN LATERAL (
    SELECT tags FROM afterword.jobs WHERE id = reached.id
    UNION ALL
    SELECT tags FROM afterword.history WHERE id = reached.id
) AS job ON true
GROUP BY root
HAVING bool_and(coalesce(CAST(:tenant AS text) = ANY (job.tags), false))
