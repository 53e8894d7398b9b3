-- Give a slot to jobs that start now: they keep it if they are given back before they do.
UPDATE afterword.jobs SET slot_at = now() WHERE id = ANY (CAST(:ids AS uuid[])) RETURNING id
