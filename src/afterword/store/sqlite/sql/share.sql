-- Another request was given this job: it runs, whatever becomes of the request that added it. But a request that is repeated
-- was given all jobs of the first one, and their order.
UPDATE afterword_jobs SET shared = 1, on_failure = iif(:unique_ended, on_failure, 'continue')
WHERE id = :other AND request_id IS NOT :request_id
