SELECT
    rules, (SELECT rules FROM afterword_workers WHERE id = :worker),
    (SELECT json_group_array(name) FROM afterword_queues WHERE paused OR concurrency IS NOT NULL)
FROM afterword_store
