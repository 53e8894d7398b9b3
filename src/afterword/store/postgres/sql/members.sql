-- The workers on the list; and true if there is anything to recover besides the jobs of dead ones.
SELECT
    ARRAY(SELECT id FROM afterword.workers),
    EXISTS (SELECT 1 FROM afterword.workers WHERE expires_at <= now())
    OR EXISTS (
        SELECT 1 FROM afterword.jobs WHERE state = 'running' AND worker NOT IN (SELECT id FROM afterword.workers)
    )
