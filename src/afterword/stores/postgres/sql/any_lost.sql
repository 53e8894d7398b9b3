SELECT 1 FROM afterword.jobs WHERE state = 'running' AND worker NOT IN (SELECT id FROM afterword.workers) LIMIT 1
