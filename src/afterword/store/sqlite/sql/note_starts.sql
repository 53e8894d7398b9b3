INSERT INTO afterword_rates (key, starts, freed, expires_at) VALUES (:key, :starts, :freed, :expires_at)
ON CONFLICT (key) DO UPDATE SET starts = excluded.starts, freed = excluded.freed, expires_at = excluded.expires_at
