-- Another request was given this job: it runs, whatever becomes of the request that added it.
UPDATE afterword_jobs SET shared = 1, on_failure = 'continue' WHERE id = :id AND NOT shared
