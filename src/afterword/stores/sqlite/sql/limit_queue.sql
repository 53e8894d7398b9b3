INSERT INTO afterword_queues (name, concurrency) VALUES (:name, :concurrency)
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency
