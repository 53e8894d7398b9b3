-- Back from the history; a job whose unique key another one has by now is left out, unless it can do without.
INSERT INTO afterword.jobs ({said}, state, attempt, interrupted, after, created_at, run_at, unique_key)
SELECT
    {said}, 'queued', attempt, interrupted, after, created_at,
    CASE WHEN id = ANY (CAST(:wanted AS uuid[])) THEN now() ELSE greatest(run_at, now()) END,
    CASE WHEN CAST(:keyed AS boolean) THEN unique_key END
FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING CAST(id AS text)
