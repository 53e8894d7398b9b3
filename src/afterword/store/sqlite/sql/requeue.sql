-- Queue a job whose attempt is over: the attempt keeps its number.
UPDATE afterword_jobs
SET state = 'queued', worker = NULL, fence = NULL, run_at = max(run_at, :at), error = :error,
    interrupted = interrupted + :interrupted, lost = lost + :lost, failures = failures + :failures,
    parked_at = NULL, slot_at = NULL -- the next attempt needs a slot of its own
WHERE id = :id AND attempt = :attempt AND worker IS :worker AND fence IS :fence
RETURNING cancelling
