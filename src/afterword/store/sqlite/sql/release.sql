-- Queue a job whose attempt never started: the attempt's number is given back, the slot is kept.
UPDATE afterword_jobs
SET state = 'queued', worker = NULL, fence = NULL, attempt = attempt - 1, run_at = max(run_at, :at), error = coalesce(:reason, error),
    parked_at = iif(:reason IS NULL, parked_at, coalesce(parked_at, :now))
WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence
RETURNING cancelling
