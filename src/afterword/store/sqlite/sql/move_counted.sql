-- Returns no row if another process has moved it.
INSERT INTO afterword_counted (place, until) VALUES (1, :until)
ON CONFLICT (place) DO UPDATE SET until = :until WHERE afterword_counted.until = :seen
RETURNING until
