-- add.sql for any number of jobs, of which none has a unique key and each follows none or one of these: rows of `new_row`.
INSERT INTO afterword_jobs (id, task, arguments, queue, priority, state, run_at, attempt, worker, fence, after, on_failure, request_id, tags, limit_key, options, created_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 12, value ->> 13, value ->> 14, value ->> 17, value ->> 18, value ->> 19
FROM json_each(:jobs)
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = value ->> 0)
ON CONFLICT DO NOTHING
