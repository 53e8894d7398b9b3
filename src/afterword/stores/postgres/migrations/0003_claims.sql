-- Each claim has a number that no other claim of its job ever had.
ALTER TABLE afterword.jobs ADD COLUMN fence bigint;
