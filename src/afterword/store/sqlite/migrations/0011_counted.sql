-- With all columns of its condition in it, the index is enough to count the jobs of a queue: no row of the table is looked up.
DROP INDEX afterword_jobs_ready;
CREATE INDEX afterword_jobs_ready ON afterword_jobs (queue, priority, run_at, id, after)
    WHERE state = 'queued' AND after IS NULL;
