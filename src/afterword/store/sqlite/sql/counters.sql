SELECT starts_at, task, queue, state, jobs, waited, ran FROM afterword_counters
WHERE seconds = :seconds AND starts_at >= :since AND starts_at < :until
ORDER BY starts_at, task, queue, state
