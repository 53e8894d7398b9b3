-- End the jobs that wait, directly or not, for these failed ones, and stop with them.
WITH RECURSIVE stopped (id, request_id, ends) AS (
    SELECT id, request_id, on_failure = 'stop' FROM afterword.jobs
    WHERE after = ANY (CAST(:ids AS uuid[])) AND (on_failure = 'stop' OR shared)
    UNION
    -- A job that another request shares does not stop, but those that its own request added behind it do.
    SELECT job.id, job.request_id, job.on_failure = 'stop'
    FROM afterword.jobs AS job JOIN stopped ON job.after = stopped.id
    WHERE (job.on_failure = 'stop' OR job.shared) AND (stopped.ends OR job.request_id = stopped.request_id)
),
ended AS (DELETE FROM afterword.jobs WHERE id IN (SELECT id FROM stopped WHERE ends) RETURNING *)
INSERT INTO afterword.history ({kept}, state, lost, error, started_at, finished_at)
SELECT {kept}, 'cancelled', lost, :reason, NULL, now()
FROM ended
RETURNING CAST(id AS text), CAST(after AS text)
