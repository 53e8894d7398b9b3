INSERT INTO afterword.workers (id, host, pid, queues, concurrency, lease, joined_at, expires_at, rules)
VALUES (:worker, :host, :pid, :queues, :concurrency, :lease, now(), now() + CAST(:lease AS double precision) * interval '1 second',
    CASE WHEN :concurrency > 0 THEN 0 END)
RETURNING id
