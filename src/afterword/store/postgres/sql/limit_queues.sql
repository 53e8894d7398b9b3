INSERT INTO afterword.queues (name, concurrency)
SELECT name, concurrency FROM unnest(CAST(:names AS text[]), CAST(:concurrencies AS integer[])) AS wanted (name, concurrency)
ORDER BY name -- in one order, or processes that start together could wait for each other
ON CONFLICT (name) DO UPDATE SET concurrency = excluded.concurrency WHERE queues.concurrency IS DISTINCT FROM excluded.concurrency
RETURNING name
