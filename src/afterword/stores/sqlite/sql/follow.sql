-- The predecessor has ended: who waited for it becomes ready.
UPDATE afterword_jobs SET after = NULL WHERE after = :id RETURNING id
