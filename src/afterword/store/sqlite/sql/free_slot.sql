-- The job is about to go: its slot, if that has not come yet, is for the one that comes next.
UPDATE afterword_rates SET freed = json_insert(freed, '$[#]', job.slot_at)
FROM afterword_jobs AS job
WHERE job.id = :id AND job.state = 'queued' AND job.slot_at > :now AND afterword_rates.key = job.limit_key
