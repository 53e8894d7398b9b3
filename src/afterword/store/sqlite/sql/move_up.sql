-- The job before was taken out: its followers now wait for what it waited for.
UPDATE afterword_jobs SET after = :after WHERE after = :id RETURNING id
