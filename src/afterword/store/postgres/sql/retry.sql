-- Queue jobs of the history again. One whose unique key another job has by now is left out; without :keyed, it is added without its key.
INSERT INTO afterword.jobs ({said}, state, attempt, interrupted, after, created_at, run_at, unique_key)
SELECT
    {said}, 'queued', attempt, interrupted, after, created_at,
    CASE WHEN id = ANY (CAST(:wanted AS uuid[])) THEN now() ELSE greatest(run_at, now()) END,
    CASE WHEN CAST(:keyed AS boolean) THEN unique_key END
FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING CAST(id AS text)
