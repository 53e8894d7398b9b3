INSERT INTO afterword_rates (key, starts, expires_at) VALUES (:key, :starts, :expires_at)
ON CONFLICT (key) DO UPDATE SET starts = excluded.starts, expires_at = excluded.expires_at
