-- The hot table holds unfinished jobs only, so it stays small whatever the history grows to.
-- Clustered by id, which sorts by time of creation.
CREATE TABLE jobs (
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
CREATE INDEX jobs_ready ON jobs (queue, priority, run_at, id) WHERE state = 'queued' AND after IS NULL;
CREATE INDEX jobs_running ON jobs (worker) WHERE state = 'running';
CREATE INDEX jobs_after ON jobs (after) WHERE after IS NOT NULL;

CREATE TABLE history (
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

CREATE INDEX history_finished ON history (finished_at);

-- The lease is the worker's, not the job's: renewing costs one row, however many jobs it runs.
CREATE TABLE workers (
    id         TEXT PRIMARY KEY,
    host       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    lease      REAL NOT NULL CHECK (lease >= 0),
    joined_at  REAL NOT NULL,
    expires_at REAL NOT NULL,
    retired    INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1)) -- it is shutting down
) STRICT, WITHOUT ROWID;
