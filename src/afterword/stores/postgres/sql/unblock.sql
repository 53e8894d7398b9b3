-- A predecessor that has ended is not waited for.
UPDATE afterword.jobs AS job SET after = NULL
WHERE id = ANY (CAST(:ids AS uuid[])) AND after IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
