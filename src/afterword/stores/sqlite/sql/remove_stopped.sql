WITH RECURSIVE stopped (id) AS (
    SELECT :id
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT job.id FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id WHERE job.on_failure = 'stop'
)
DELETE FROM afterword_jobs WHERE id IN (SELECT id FROM stopped)
