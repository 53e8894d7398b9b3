-- The life of a job: what was said of it, how far it has come, what has become of each attempt.
ALTER TABLE afterword.jobs
    ADD COLUMN tags       text[],
    ADD COLUMN unique_key text,
    ADD COLUMN limit_key  text,
    -- Claims read the limit as a number: what is none is refused here, and not when it is met there.
    ADD COLUMN options    json    CHECK (options ->> 'limit' ~ '^[0-9]{1,9}$'),
    ADD COLUMN failures   integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    ADD COLUMN progress   text,
    ADD COLUMN cancelling text, -- why a running job is to end
    -- when its rate lets its next attempt start
    ADD COLUMN slot_at    timestamptz;

CREATE UNIQUE INDEX jobs_unique ON afterword.jobs (unique_key) WHERE unique_key IS NOT NULL;
-- Empty nearly always: who looks for attempts to end reads nothing.
CREATE INDEX jobs_cancelling ON afterword.jobs (worker) WHERE cancelling IS NOT NULL;
CREATE INDEX jobs_limited ON afterword.jobs (limit_key) WHERE state = 'running' AND limit_key IS NOT NULL;

ALTER TABLE afterword.history
    ADD COLUMN tags       text[],
    ADD COLUMN unique_key text,
    ADD COLUMN limit_key  text,
    ADD COLUMN options    json,
    ADD COLUMN failures   integer NOT NULL DEFAULT 0,
    ADD COLUMN progress   text,
    ADD COLUMN result     text;

CREATE INDEX history_unique ON afterword.history (unique_key, id) WHERE unique_key IS NOT NULL;

-- The attempts that did not end their job; the one that did is in the history.
CREATE TABLE afterword.attempts (
    job_id     uuid        NOT NULL,
    attempt    integer     NOT NULL CHECK (attempt > 0),
    worker     text,
    outcome    text        NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled', 'interrupted', 'lost')),
    error      text,
    started_at timestamptz,
    ended_at   timestamptz NOT NULL,
    PRIMARY KEY (job_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- The queues that somebody has limited or paused.
CREATE TABLE afterword.queues (
    name        text    PRIMARY KEY CHECK (name <> ''),
    paused      boolean NOT NULL DEFAULT false,
    concurrency integer CHECK (concurrency > 0)
);

-- The latest starts of the jobs with a rate, as many as the rate counts.
CREATE TABLE afterword.rates (
    key        text        PRIMARY KEY,
    starts     json        NOT NULL, -- seconds since 1970, by the server's clock
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
CREATE INDEX rates_expired ON afterword.rates (expires_at);

CREATE TABLE afterword.schedules (
    name    text        PRIMARY KEY CHECK (name <> ''),
    task    text        NOT NULL,
    rule    text        NOT NULL,
    words   text        NOT NULL,
    next_at timestamptz NOT NULL, -- the next occurrence that has no job yet
    last_at timestamptz,
    paused  boolean     NOT NULL DEFAULT false,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
