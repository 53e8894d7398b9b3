-- Mark jobs as shared with other requests: they run even if the requests that added them fail. But a repeated request (unique_ended) shares
-- all jobs of the first one, and their order.
WITH given AS (
    SELECT job.id, bool_or(new.request_id IS DISTINCT FROM job.request_id) AS to_others,
        bool_or(new.request_id IS DISTINCT FROM job.request_id AND NOT new.unique_ended) AS alone
    FROM unnest(CAST(:ids AS uuid[]), CAST(:request_ids AS text[]), CAST(:unique_ended AS boolean[])) AS new (id, request_id, unique_ended)
    JOIN afterword.jobs AS job ON job.id = new.id
    GROUP BY job.id
)
UPDATE afterword.jobs AS job
SET shared = job.shared OR given.to_others, on_failure = CASE WHEN given.alone THEN 'continue' ELSE job.on_failure END
FROM given WHERE job.id = given.id
RETURNING CAST(job.id AS text)
