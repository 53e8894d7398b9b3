-- These start now: should they be given back before they do, their slot is still theirs.
UPDATE afterword.jobs SET slot_at = now() WHERE id = ANY (CAST(:ids AS uuid[])) RETURNING id
