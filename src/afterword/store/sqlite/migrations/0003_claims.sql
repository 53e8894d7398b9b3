-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword_jobs ADD COLUMN fence INTEGER;
ALTER TABLE afterword_jobs ADD COLUMN parked_at REAL; -- since when no worker that met the job could run it

-- Workers that are off the list, had retired, and left jobs behind: those were interrupted, not lost. Empty nearly always.
CREATE TABLE afterword_retired (worker TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
