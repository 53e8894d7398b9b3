SELECT id, expires_at FROM workers
