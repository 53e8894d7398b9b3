-- Delete one queued job, which is locked; its followers now wait for its predecessor.
WITH gone AS (
    DELETE FROM afterword.jobs WHERE id = CAST(:id AS uuid) AND state = 'queued' RETURNING id, after, limit_key, slot_at
),
-- Free its slot, if that lies ahead, for the job that comes next.
freed AS (
    UPDATE afterword.rates SET freed = rates.freed || CAST(extract(epoch FROM gone.slot_at) AS double precision)
    FROM gone WHERE rates.key = gone.limit_key AND gone.slot_at > now()
),
moved AS (UPDATE afterword.jobs AS job SET after = gone.after FROM gone WHERE job.after = gone.id RETURNING job.id)
SELECT (SELECT count(*) FROM moved) FROM gone
