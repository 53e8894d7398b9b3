-- Another request was given this job, because of its unique key: the request that added it cannot take it back.
ALTER TABLE afterword.jobs ADD COLUMN shared boolean NOT NULL DEFAULT false;
