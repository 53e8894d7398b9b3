SELECT id, expires_at, lease FROM afterword_workers
