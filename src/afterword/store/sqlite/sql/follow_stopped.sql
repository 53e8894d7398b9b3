-- Who goes on after a failure becomes ready when what it waited for is stopped.
WITH RECURSIVE stopped (id, request_id, ends) AS (
    SELECT :id, NULL, 1
    UNION -- not ALL: rows edited into a circle must not keep it going
    -- What another request was given does not stop, but what its own request has added behind it does.
    SELECT job.id, job.request_id, job.on_failure = 'stop'
    FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id
    WHERE (job.on_failure = 'stop' OR job.shared) AND (stopped.ends OR job.request_id = stopped.request_id)
)
UPDATE afterword_jobs SET after = NULL WHERE after IN (SELECT id FROM stopped WHERE ends) AND on_failure <> 'stop'
RETURNING id
