-- Free the followers of jobs that have ended without being completed: they wait for the job before these, if it has not ended.
UPDATE afterword.jobs AS job SET after = (SELECT id FROM afterword.jobs AS predecessor WHERE predecessor.id = gone.after)
FROM unnest(CAST(:ids AS uuid[]), CAST(:afters AS uuid[])) AS gone (id, after)
WHERE job.after = gone.id
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING CAST(job.id AS text)
