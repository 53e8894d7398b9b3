-- Delete retired workers whose jobs have all been recovered.
DELETE FROM afterword_retired
WHERE NOT EXISTS (SELECT 1 FROM afterword_jobs AS job WHERE job.state = 'running' AND job.worker = afterword_retired.worker)
