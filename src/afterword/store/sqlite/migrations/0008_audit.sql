-- What people did to jobs, queues and schedules.
CREATE TABLE afterword_audit (
    id     TEXT    PRIMARY KEY, -- sorts by time
    at     REAL    NOT NULL,
    name   TEXT    NOT NULL,
    place  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX afterword_audit_at ON afterword_audit (at);
