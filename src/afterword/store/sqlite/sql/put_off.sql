-- Give back a claim that may not start yet because of its limit or rate.
UPDATE afterword_jobs
SET state = 'queued', worker = NULL, fence = NULL, attempt = attempt - 1, run_at = max(run_at, :at), slot_at = coalesce(:slot_at, slot_at)
WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence
