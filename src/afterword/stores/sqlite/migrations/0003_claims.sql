-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword_jobs ADD COLUMN fence INTEGER;
ALTER TABLE afterword_jobs ADD COLUMN parked_at REAL; -- since when no worker that met the job could run it
