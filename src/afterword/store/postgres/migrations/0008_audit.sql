-- What people did to jobs, queues and schedules.
CREATE TABLE afterword.audit (
    id     uuid        PRIMARY KEY, -- sorts by time
    at     timestamptz NOT NULL,
    name   text        NOT NULL,
    place  text        NOT NULL,
    action text        NOT NULL,
    target text        NOT NULL,
    count  bigint      NOT NULL
);
CREATE INDEX audit_at ON afterword.audit (at);
