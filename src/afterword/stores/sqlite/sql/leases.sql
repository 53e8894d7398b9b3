SELECT id, expires_at, lease, retired FROM afterword_workers
