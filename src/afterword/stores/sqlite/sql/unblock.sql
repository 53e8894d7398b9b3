-- A job that waits for one that is not there any more, say because a row was deleted by hand.
UPDATE afterword_jobs SET after = NULL WHERE after IS NOT NULL AND after NOT IN (SELECT id FROM afterword_jobs)
