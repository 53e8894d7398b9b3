SELECT name FROM afterword.queues WHERE paused OR concurrency IS NOT NULL
