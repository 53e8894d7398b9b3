-- Executed behind reserve.sql, so that nothing can be added meanwhile. The time is that of this statement, not of the transaction's
-- begin: another transaction may have given a later slot since.
SELECT
    key,
    (SELECT count(*) FROM afterword.jobs AS job WHERE job.state = 'running' AND job.limit_key = key),
    (SELECT CAST(starts AS text) FROM afterword.rates WHERE rates.key = wanted.key),
    (SELECT freed FROM afterword.rates WHERE rates.key = wanted.key),
    (
        SELECT CAST(extract(epoch FROM max(slot_at)) AS double precision) FROM afterword.jobs AS job
        WHERE job.state = 'queued' AND job.slot_at IS NOT NULL AND job.limit_key = key
    ),
    CAST(extract(epoch FROM clock_timestamp()) AS double precision)
FROM unnest(CAST(:keys AS text[])) AS wanted (key)
