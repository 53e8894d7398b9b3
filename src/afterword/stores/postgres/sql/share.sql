-- Other requests were given these jobs: they run, whatever becomes of the requests that added them.
UPDATE afterword.jobs SET shared = true, on_failure = 'continue'
WHERE id = ANY (CAST(:ids AS uuid[]))
RETURNING CAST(id AS text)
