SELECT id, expires_at, retired FROM workers
