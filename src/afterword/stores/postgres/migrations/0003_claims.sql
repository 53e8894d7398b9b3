-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword.jobs
    ADD COLUMN fence     bigint,
    -- since when no worker that met the job could run it
    ADD COLUMN parked_at timestamptz;
