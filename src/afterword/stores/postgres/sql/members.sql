SELECT id, expires_at <= now() FROM afterword.workers
