-- The hot table holds unfinished jobs only, so it stays small whatever the history grows to.
-- Clustered by id, which sorts by time of creation.
CREATE TABLE afterword_jobs (
    id          TEXT    PRIMARY KEY CHECK (length(id) = 36),
    task        TEXT    NOT NULL CHECK (task <> ''),
    arguments   TEXT    NOT NULL CHECK (json_valid(arguments)),
    queue       TEXT    NOT NULL CHECK (queue <> ''),
    priority    INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'running')),
    run_at      REAL    NOT NULL CHECK (run_at BETWEEN 0 AND 253402300799), -- the end of year 9999
    attempt     INTEGER NOT NULL CHECK (attempt >= 0),
    lost        INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0),
    interrupted INTEGER NOT NULL DEFAULT 0 CHECK (interrupted >= 0),
    worker      TEXT,
    after       TEXT    CHECK (after <> id),
    on_failure  TEXT    NOT NULL CHECK (on_failure IN ('stop', 'continue')),
    request_id  TEXT,
    error       TEXT,
    created_at  REAL    NOT NULL,
    CHECK ((state = 'running') = (worker IS NOT NULL)),
    CHECK (state = 'queued' OR attempt > 0)
) STRICT, WITHOUT ROWID;

-- Claims read only this: what waits for a predecessor is not in it.
CREATE INDEX afterword_jobs_ready ON afterword_jobs (queue, priority, run_at, id)
    WHERE state = 'queued' AND after IS NULL;
CREATE INDEX afterword_jobs_running ON afterword_jobs (worker) WHERE state = 'running';
CREATE INDEX afterword_jobs_after ON afterword_jobs (after) WHERE after IS NOT NULL;
-- Empty, unless somebody edits rows by hand: these are found without reading all the others.
CREATE INDEX afterword_jobs_odd ON afterword_jobs (id) WHERE state NOT IN ('queued', 'running');

CREATE TABLE afterword_history (
    id          TEXT    PRIMARY KEY,
    task        TEXT    NOT NULL,
    arguments   TEXT    NOT NULL,
    queue       TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    run_at      REAL    NOT NULL,
    attempt     INTEGER NOT NULL,
    lost        INTEGER NOT NULL,
    interrupted INTEGER NOT NULL,
    worker      TEXT,
    after       TEXT,
    on_failure  TEXT    NOT NULL,
    request_id  TEXT,
    error       TEXT    CHECK (state = 'completed' OR error IS NOT NULL),
    created_at  REAL    NOT NULL,
    started_at  REAL,
    finished_at REAL    NOT NULL
) STRICT, WITHOUT ROWID;

-- What to purge; and, without a look into the table, what became of each task's jobs lately.
CREATE INDEX afterword_history_finished ON afterword_history (finished_at, task, state);
-- In a table WITHOUT ROWID each index ends with the primary key: these find a page of jobs, newest
-- first, however long the history is.
CREATE INDEX afterword_history_task ON afterword_history (task);
CREATE INDEX afterword_history_request ON afterword_history (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX afterword_history_not_completed ON afterword_history (state) WHERE state <> 'completed';
-- Who was cancelled with it comes back with it.
CREATE INDEX afterword_history_stopped ON afterword_history (after)
    WHERE state = 'cancelled' AND after IS NOT NULL;

-- The lease is the worker's, not the job's: renewing costs one row, however many jobs it runs.
CREATE TABLE afterword_workers (
    id          TEXT    PRIMARY KEY,
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    queues      TEXT    NOT NULL CHECK (json_valid(queues)),
    concurrency INTEGER NOT NULL CHECK (concurrency >= 0), -- 0: it only stores jobs
    lease       REAL    NOT NULL CHECK (lease >= 0),
    joined_at   REAL    NOT NULL,
    expires_at  REAL    NOT NULL,
    retired     INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1)) -- it is shutting down
) STRICT, WITHOUT ROWID;

-- One row: which store this is, whatever path leads to it.
CREATE TABLE afterword_store (
    identity TEXT NOT NULL UNIQUE CHECK (identity <> '')
) STRICT;
INSERT INTO afterword_store (identity) VALUES (lower(hex(randomblob(16))));

CREATE TABLE afterword_migrations (
    version    INTEGER PRIMARY KEY,
    oldest     INTEGER NOT NULL, -- the schema that code must know at least to work with this one
    applied_at REAL    NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)
) STRICT;
