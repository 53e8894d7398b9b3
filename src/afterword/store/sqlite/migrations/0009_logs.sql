-- The last lines that loggers wrote during an attempt, if they are kept.
CREATE TABLE afterword_logs (
    job_id  TEXT    NOT NULL,
    attempt INTEGER NOT NULL CHECK (attempt > 0),
    text    TEXT    NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;
