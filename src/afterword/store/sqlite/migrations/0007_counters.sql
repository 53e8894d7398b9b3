-- How many jobs ended in a period of so many seconds, and buckets of how long they waited and ran; see store/counting.py.
CREATE TABLE afterword_counters (
    seconds   INTEGER NOT NULL CHECK (seconds > 0),
    starts_at INTEGER NOT NULL, -- seconds since 1970
    task      TEXT    NOT NULL,
    queue     TEXT    NOT NULL,
    state     TEXT    NOT NULL,
    jobs      INTEGER NOT NULL CHECK (jobs >= 0),
    waited    TEXT    NOT NULL CHECK (json_valid(waited)),
    ran       TEXT    NOT NULL CHECK (json_valid(ran)),
    PRIMARY KEY (seconds, starts_at, task, queue, state)
) STRICT, WITHOUT ROWID;

-- One row, once something was counted: up to when.
CREATE TABLE afterword_counted (
    place INTEGER PRIMARY KEY CHECK (place = 1),
    until INTEGER NOT NULL
) STRICT;
