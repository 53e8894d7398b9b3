-- Free the followers of jobs that have ended. A statement of its own, because it has to see the
-- followers that were added while the predecessor's row was locked.
UPDATE afterword.jobs AS job SET after = NULL
WHERE after = ANY (CAST(:ids AS uuid[]))
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING CAST(id AS text)
