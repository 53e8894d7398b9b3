-- Jobs that wait for one that is not there any more, say because a row was deleted by hand.
UPDATE afterword.jobs AS job SET after = NULL
WHERE after IS NOT NULL AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
