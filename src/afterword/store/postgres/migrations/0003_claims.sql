-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword.jobs
    ADD COLUMN fence     bigint,
    -- since when no worker that met the job could run it
    ADD COLUMN parked_at timestamptz;

-- Workers that are off the list, had retired, and left jobs behind: those were interrupted, not lost. Empty nearly always.
CREATE TABLE afterword.retired (worker text PRIMARY KEY);
