-- Record a retired worker before it is removed: its jobs may be recovered in several steps.
INSERT INTO afterword_retired (worker)
SELECT id FROM afterword_workers AS gone
WHERE id = :worker AND retired AND EXISTS (SELECT 1 FROM afterword_jobs AS job WHERE job.state = 'running' AND job.worker = gone.id)
ON CONFLICT DO NOTHING
