-- How many jobs ended in a period of so many seconds, and buckets of how long they waited and ran; see store/counting.py.
CREATE TABLE afterword.counters (
    seconds   integer NOT NULL CHECK (seconds > 0),
    starts_at bigint  NOT NULL, -- seconds since 1970
    task      text    NOT NULL,
    queue     text    NOT NULL,
    state     text    NOT NULL,
    jobs      bigint  NOT NULL CHECK (jobs >= 0),
    waited    json    NOT NULL,
    ran       json    NOT NULL,
    PRIMARY KEY (seconds, starts_at, task, queue, state)
);

-- One row, once something was counted: up to when.
CREATE TABLE afterword.counted (
    place integer PRIMARY KEY CHECK (place = 1),
    until bigint  NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
