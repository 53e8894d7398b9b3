-- The last lines that loggers wrote during an attempt, if they are kept.
CREATE TABLE afterword.logs (
    job_id  uuid    NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    text    text    NOT NULL,
    PRIMARY KEY (job_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
