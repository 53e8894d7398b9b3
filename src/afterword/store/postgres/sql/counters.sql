SELECT starts_at, task, queue, state, jobs, CAST(waited AS text), CAST(ran AS text) FROM afterword.counters
WHERE seconds = :seconds AND starts_at >= :since AND starts_at < :until
ORDER BY starts_at, task, queue, state
