INSERT INTO afterword_queues (name, concurrency) VALUES (:name, :concurrency)
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency WHERE afterword_queues.concurrency IS NOT excluded.concurrency
RETURNING name
