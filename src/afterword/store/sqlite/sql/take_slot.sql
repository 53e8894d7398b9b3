-- It starts now: should it be given back before it does, its slot is still its own.
UPDATE afterword_jobs SET slot_at = :now WHERE id = :id AND slot_at IS NULL
