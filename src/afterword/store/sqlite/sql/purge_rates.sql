DELETE FROM afterword_rates WHERE key IN (SELECT key FROM afterword_rates WHERE expires_at < :now LIMIT :limit)
