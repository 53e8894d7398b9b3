INSERT INTO workers (id, host, pid, lease, joined_at, expires_at) VALUES (:worker, :host, :pid, :lease, :now, :now + :lease)
