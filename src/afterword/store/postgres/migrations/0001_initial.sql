-- The hot table holds unfinished jobs only, so it stays small whatever the history grows to.
CREATE TABLE afterword.jobs (
    id          uuid        PRIMARY KEY,
    task        text        NOT NULL CHECK (task <> ''),
    arguments   json        NOT NULL, -- not jsonb: it is kept as written, and may hold \u0000
    queue       text        NOT NULL CHECK (queue <> ''),
    priority    integer     NOT NULL,
    state       text        NOT NULL CHECK (state IN ('queued', 'running')),
    run_at      timestamptz NOT NULL CHECK (run_at >= 'epoch' AND run_at < '10000-01-01 00:00:00+00'),
    attempt     integer     NOT NULL CHECK (attempt >= 0),
    lost        integer     NOT NULL DEFAULT 0 CHECK (lost >= 0),
    interrupted integer     NOT NULL DEFAULT 0 CHECK (interrupted >= 0),
    worker      text,
    after       uuid        CHECK (after <> id),
    on_failure  text        NOT NULL CHECK (on_failure IN ('stop', 'continue')),
    request_id  text,
    error       text,
    created_at  timestamptz NOT NULL,
    CHECK ((state = 'running') = (worker IS NOT NULL)),
    CHECK (state = 'queued' OR attempt > 0)
) WITH (
    -- Rows come and go within milliseconds: what is dead is cleared by its number, without a pause.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000
);

-- Claims read only this: what waits for a predecessor is not in it.
CREATE INDEX jobs_ready ON afterword.jobs (queue, priority, run_at, id) WHERE state = 'queued' AND after IS NULL;
CREATE INDEX jobs_running ON afterword.jobs (worker) WHERE state = 'running';
CREATE INDEX jobs_after ON afterword.jobs (after) WHERE after IS NOT NULL;

CREATE TABLE afterword.history (
    id          uuid        PRIMARY KEY,
    task        text        NOT NULL,
    arguments   json        NOT NULL,
    queue       text        NOT NULL,
    priority    integer     NOT NULL,
    state       text        NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
    run_at      timestamptz NOT NULL,
    attempt     integer     NOT NULL,
    lost        integer     NOT NULL,
    interrupted integer     NOT NULL,
    worker      text,
    after       uuid,
    on_failure  text        NOT NULL,
    request_id  text,
    error       text        CHECK (state = 'completed' OR error IS NOT NULL),
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX history_finished ON afterword.history (finished_at);
-- People look for what went wrong; what went well is most of the table and not in here.
CREATE INDEX history_not_completed ON afterword.history (id) WHERE state <> 'completed';
CREATE INDEX history_stopped ON afterword.history (after) WHERE state = 'cancelled' AND after IS NOT NULL;

-- The lease is the worker's, not the job's: renewing costs one row, however many jobs it runs.
CREATE TABLE afterword.workers (
    id          text             PRIMARY KEY,
    host        text             NOT NULL,
    pid         integer          NOT NULL,
    queues      text[]           NOT NULL,
    concurrency integer          NOT NULL CHECK (concurrency >= 0),
    lease       double precision NOT NULL CHECK (lease >= 0),
    joined_at   timestamptz      NOT NULL,
    expires_at  timestamptz      NOT NULL,
    retired     boolean          NOT NULL DEFAULT false -- it is shutting down
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Tells this store from every other one.
CREATE TABLE afterword.store (identity text PRIMARY KEY);
INSERT INTO afterword.store VALUES (gen_random_uuid()::text);
