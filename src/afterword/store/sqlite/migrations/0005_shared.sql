-- Another request was given this job, because of its unique key: the request that added it cannot take it back.
ALTER TABLE afterword_jobs ADD COLUMN shared INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1));
