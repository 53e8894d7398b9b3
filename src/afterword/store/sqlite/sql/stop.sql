-- End the jobs that wait, directly or not, for one that did not complete, and stop with it.
WITH RECURSIVE stopped (id, request_id, ends) AS (
    SELECT :id, NULL, 1
    UNION -- not ALL: rows edited into a circle must not keep it going
    -- A job that another request shares does not stop, but those that its own request added behind it do.
    SELECT job.id, job.request_id, job.on_failure = 'stop'
    FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id
    WHERE (job.on_failure = 'stop' OR job.shared) AND (stopped.ends OR job.request_id = stopped.request_id)
)
INSERT INTO afterword_history ({kept}, state, lost, error, result, started_at, finished_at)
SELECT {kept}, 'cancelled', lost, :stopped, NULL, NULL, :now
FROM afterword_jobs WHERE id IN (SELECT id FROM stopped WHERE ends AND id <> :id)
