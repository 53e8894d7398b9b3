-- Mark a job as shared with another request: it runs even if the request that added it fails. But a repeated request (unique_ended) shares
-- all jobs of the first one, and their order.
UPDATE afterword_jobs SET shared = 1, on_failure = iif(:unique_ended, on_failure, 'continue')
WHERE id = :other AND request_id IS NOT :request_id
