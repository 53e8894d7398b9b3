-- The predecessors have ended: who waited for one of them becomes ready.
UPDATE afterword_jobs SET after = NULL WHERE after IN (SELECT value FROM json_each(:ids)) RETURNING id
