-- Take one queued job out, which is locked; its followers now wait for what it waited for.
WITH gone AS (
    DELETE FROM afterword.jobs WHERE id = CAST(:id AS uuid) AND state = 'queued' RETURNING id, after
),
moved AS (UPDATE afterword.jobs AS job SET after = gone.after FROM gone WHERE job.after = gone.id RETURNING job.id)
SELECT (SELECT count(*) FROM moved) FROM gone
