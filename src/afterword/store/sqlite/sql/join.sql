INSERT INTO afterword_workers (id, host, pid, queues, concurrency, lease, joined_at, expires_at, rules)
VALUES (:worker, :host, :pid, :queues, :concurrency, :lease, :now, :now + :lease, iif(:concurrency > 0, 0, NULL))
