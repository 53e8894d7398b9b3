-- Free the slot of a job that is about to go, if that lies ahead, for the job that comes next.
UPDATE afterword_rates SET freed = json_insert(freed, '$[#]', job.slot_at)
FROM afterword_jobs AS job
WHERE job.id = :id AND job.state = 'queued' AND job.slot_at > :now AND afterword_rates.key = job.limit_key
