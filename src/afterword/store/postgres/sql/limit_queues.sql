INSERT INTO afterword.queues (name, concurrency)
SELECT name, concurrency FROM unnest(CAST(:names AS text[]), CAST(:concurrencies AS integer[])) AS wanted (name, concurrency)
ORDER BY name -- those who start together wait for each other in one order
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency WHERE queues.concurrency IS DISTINCT FROM excluded.concurrency
RETURNING name
