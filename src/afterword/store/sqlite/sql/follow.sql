-- Free the followers of jobs that have ended.
UPDATE afterword_jobs SET after = NULL WHERE after IN (SELECT value FROM json_each(:ids)) RETURNING id
