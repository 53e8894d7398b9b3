SELECT
    rules, (SELECT rules FROM afterword.workers WHERE id = :worker),
    ARRAY(SELECT name FROM afterword.queues WHERE paused OR concurrency IS NOT NULL)
FROM afterword.store
