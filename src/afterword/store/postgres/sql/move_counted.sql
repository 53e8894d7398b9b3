-- Returns no row if another process has moved it.
INSERT INTO afterword.counted (place, until) VALUES (1, CAST(:until AS bigint))
ON CONFLICT (place) DO UPDATE SET until = excluded.until WHERE counted.until = CAST(:seen AS bigint)
RETURNING until
