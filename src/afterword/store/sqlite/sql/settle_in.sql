-- Free restored jobs whose predecessor does not exist here.
UPDATE afterword_jobs SET after = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND after NOT IN (SELECT id FROM afterword_jobs)
