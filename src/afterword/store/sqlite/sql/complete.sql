-- finish.sql for any number of attempts that succeeded: rows of [id, attempt, worker, fence, started_at, result, state].
-- It returns no ids: see claim.sql for what a row costs. Usually `changes()` says that all were ours; if not, held.sql tells which.
INSERT INTO afterword_history ({kept}, state, lost, result, started_at, finished_at)
SELECT {job.kept}, ended.value ->> 6, lost, ended.value ->> 5, ended.value ->> 4, :now
FROM json_each(:ended) AS ended
CROSS JOIN afterword_jobs AS job -- in this order, so that the jobs are found by their ids
WHERE job.id = ended.value ->> 0 AND job.attempt = ended.value ->> 1 AND job.worker IS ended.value ->> 2 AND job.fence IS ended.value ->> 3
