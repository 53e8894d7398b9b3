-- The larger of two counts is kept: ends may have been committed late, or jobs purged meanwhile.
INSERT INTO afterword_counters (seconds, starts_at, task, queue, state, jobs, waited, ran)
VALUES (:seconds, :starts_at, :task, :queue, :state, :jobs, :waited, :ran)
ON CONFLICT (seconds, starts_at, task, queue, state) DO UPDATE SET jobs = excluded.jobs, waited = excluded.waited, ran = excluded.ran
WHERE excluded.jobs > afterword_counters.jobs
