-- The larger of two counts is kept: ends may have been committed late, or jobs purged meanwhile.
INSERT INTO afterword.counters (seconds, starts_at, task, queue, state, jobs, waited, ran)
SELECT seconds, starts_at, task, queue, state, jobs, CAST(waited AS json), CAST(ran AS json)
FROM unnest(
    CAST(:seconds AS integer[]), CAST(:starts_at AS bigint[]), CAST(:task AS text[]), CAST(:queue AS text[]), CAST(:state AS text[]),
    CAST(:jobs AS bigint[]), CAST(:waited AS text[]), CAST(:ran AS text[])
) AS counted (seconds, starts_at, task, queue, state, jobs, waited, ran)
ON CONFLICT (seconds, starts_at, task, queue, state) DO UPDATE SET jobs = excluded.jobs, waited = excluded.waited, ran = excluded.ran
WHERE excluded.jobs > counters.jobs
RETURNING seconds
