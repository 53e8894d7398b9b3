INSERT INTO afterword_workers (id, host, pid, queues, concurrency, lease, joined_at, expires_at)
VALUES (:worker, :host, :pid, :queues, :concurrency, :lease, :now, :now + :lease)
