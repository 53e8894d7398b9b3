-- The job of an occurrence is kept for a while: see OCCURRENCE_KEPT.
-- Arrays are filled once. With IN (SELECT ...), the planner of a table that was small a moment ago asks for each row again, and as
-- what is deleted already is skipped, that deletes all rows.
WITH gone AS (
    DELETE FROM afterword.history
    WHERE id = ANY (ARRAY(
        SELECT id FROM afterword.history
        WHERE finished_at <= now() - CAST(:retention AS double precision) * interval '1 second'
            AND (
                finished_at <= now() - CAST(:occurrence_kept AS double precision) * interval '1 second'
                OR NOT EXISTS (SELECT FROM unnest(tags) AS tag WHERE tag LIKE 'schedule:%')
            )
        ORDER BY finished_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id
),
-- Also so that the planner does not scan all attempts.
attempts AS (DELETE FROM afterword.attempts WHERE job_id = ANY (ARRAY(SELECT id FROM gone))),
logs AS (DELETE FROM afterword.logs WHERE job_id = ANY (ARRAY(SELECT id FROM gone))),
rates AS (
    DELETE FROM afterword.rates
    WHERE key = ANY (ARRAY(SELECT key FROM afterword.rates WHERE expires_at < now() LIMIT :limit FOR UPDATE SKIP LOCKED))
),
audit AS (
    DELETE FROM afterword.audit
    WHERE id = ANY (ARRAY(
        SELECT id FROM afterword.audit WHERE at < now() - CAST(:audit_days AS integer) * interval '1 day'
        ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
),
-- Delete retired workers whose jobs have all been recovered.
retired AS (
    DELETE FROM afterword.retired
    WHERE NOT EXISTS (SELECT 1 FROM afterword.jobs AS job WHERE job.state = 'running' AND job.worker = retired.worker)
)
SELECT count(*) FROM gone
