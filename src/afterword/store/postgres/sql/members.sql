-- The workers; and true if there are jobs to recover besides those of dead workers.
SELECT
    ARRAY(SELECT id FROM afterword.workers),
    EXISTS (SELECT 1 FROM afterword.workers WHERE expires_at <= now())
    OR EXISTS (
        SELECT 1 FROM afterword.jobs WHERE state = 'running' AND worker NOT IN (SELECT id FROM afterword.workers)
    )
