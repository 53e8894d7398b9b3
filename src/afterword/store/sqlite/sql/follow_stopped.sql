-- Free the jobs that go on after a failure, and waited for one of the stopped jobs. They wait for the job before these, if it has not ended.
WITH RECURSIVE stopped (id, request_id, ends) AS (
    SELECT :id, NULL, 1
    UNION -- not ALL: rows edited into a circle must not keep it going
    -- A job that another request shares does not stop, but those that its own request added behind it do.
    SELECT job.id, job.request_id, job.on_failure = 'stop'
    FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id
    WHERE (job.on_failure = 'stop' OR job.shared) AND (stopped.ends OR job.request_id = stopped.request_id)
)
UPDATE afterword_jobs SET after = (SELECT after FROM afterword_jobs WHERE id = :id)
WHERE after IN (SELECT id FROM stopped WHERE ends) AND on_failure <> 'stop'
RETURNING id
