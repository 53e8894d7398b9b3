-- The life of a job: what was said of it, how far it has come, what has become of each attempt.
-- (For SQLite before 3.43 NULL is no valid JSON, which a CHECK would refuse.)
ALTER TABLE afterword_jobs ADD COLUMN tags TEXT CHECK (tags IS NULL OR json_valid(tags));
ALTER TABLE afterword_jobs ADD COLUMN unique_key TEXT;
ALTER TABLE afterword_jobs ADD COLUMN limit_key TEXT;
ALTER TABLE afterword_jobs ADD COLUMN options TEXT CHECK (options IS NULL OR json_valid(options));
ALTER TABLE afterword_jobs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE afterword_jobs ADD COLUMN progress TEXT;
ALTER TABLE afterword_jobs ADD COLUMN cancelling TEXT; -- why a running job is to end
ALTER TABLE afterword_jobs ADD COLUMN slot_at REAL; -- when its rate lets its next attempt start

CREATE UNIQUE INDEX afterword_jobs_unique ON afterword_jobs (unique_key) WHERE unique_key IS NOT NULL;
-- Empty nearly always: who looks for attempts to end reads nothing.
CREATE INDEX afterword_jobs_cancelling ON afterword_jobs (worker) WHERE cancelling IS NOT NULL;
CREATE INDEX afterword_jobs_limited ON afterword_jobs (limit_key) WHERE state = 'running' AND limit_key IS NOT NULL;

ALTER TABLE afterword_history ADD COLUMN tags TEXT;
ALTER TABLE afterword_history ADD COLUMN unique_key TEXT;
ALTER TABLE afterword_history ADD COLUMN limit_key TEXT;
ALTER TABLE afterword_history ADD COLUMN options TEXT;
ALTER TABLE afterword_history ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE afterword_history ADD COLUMN progress TEXT;
ALTER TABLE afterword_history ADD COLUMN result TEXT;

CREATE INDEX afterword_history_unique ON afterword_history (unique_key) WHERE unique_key IS NOT NULL;

-- The attempts that did not end their job; the one that did is in the history.
CREATE TABLE afterword_attempts (
    job_id     TEXT    NOT NULL,
    attempt    INTEGER NOT NULL CHECK (attempt > 0),
    worker     TEXT,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled', 'interrupted', 'lost')),
    error      TEXT,
    started_at REAL,
    ended_at   REAL    NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

-- The queues that somebody has limited or paused.
CREATE TABLE afterword_queues (
    name        TEXT    PRIMARY KEY CHECK (name <> ''),
    paused      INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    concurrency INTEGER CHECK (concurrency > 0)
) STRICT, WITHOUT ROWID;

-- The latest starts of the jobs with a rate, as many as the rate counts.
CREATE TABLE afterword_rates (
    key        TEXT PRIMARY KEY,
    starts     TEXT NOT NULL CHECK (json_valid(starts)),
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX afterword_rates_expired ON afterword_rates (expires_at);

CREATE TABLE afterword_schedules (
    name    TEXT    PRIMARY KEY CHECK (name <> ''),
    task    TEXT    NOT NULL,
    rule    TEXT    NOT NULL,
    words   TEXT    NOT NULL,
    next_at REAL    NOT NULL, -- the next occurrence that has no job yet
    last_at REAL,
    paused  INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    seen_at REAL    NOT NULL
) STRICT, WITHOUT ROWID;
