-- Give a slot to a job that starts now: it keeps it if it is given back before it does.
UPDATE afterword_jobs SET slot_at = :now WHERE id = :id AND slot_at IS NULL
