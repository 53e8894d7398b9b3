INSERT INTO afterword.queues (name, paused)
SELECT DISTINCT name, CAST(:paused AS boolean) FROM unnest(CAST(:names AS text[])) AS wanted (name)
ORDER BY name
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused
RETURNING name
