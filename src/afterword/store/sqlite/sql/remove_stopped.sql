-- Delete the job that did not complete, and the jobs that stop.sql has moved to the history with it.
DELETE FROM afterword_jobs
WHERE id = :id OR id IN (SELECT id FROM afterword_history WHERE finished_at = :now)
