-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword_jobs ADD COLUMN fence INTEGER;
