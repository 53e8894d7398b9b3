SELECT
    starts, freed, (SELECT max(slot_at) FROM afterword_jobs WHERE limit_key = :key AND state = 'queued' AND slot_at IS NOT NULL)
FROM afterword_rates WHERE key = :key
