-- Let the followers of a job that was taken out wait for its predecessor.
UPDATE afterword_jobs SET after = :after WHERE after = :id RETURNING id
