SELECT name, paused, concurrency FROM afterword_queues
