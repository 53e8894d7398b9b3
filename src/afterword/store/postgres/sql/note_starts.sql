INSERT INTO afterword.rates (key, starts, freed, expires_at)
SELECT
    key, CAST(starts AS json), ARRAY(SELECT CAST(slot AS double precision) FROM json_array_elements_text(CAST(freed AS json)) AS left_over (slot)),
    to_timestamp(expires_at)
FROM unnest(
    CAST(:keys AS text[]), CAST(:starts AS text[]), CAST(:freed AS text[]), CAST(:expire_ats AS double precision[])
) AS kept (key, starts, freed, expires_at)
ON CONFLICT (key) DO UPDATE SET starts = excluded.starts, freed = excluded.freed, expires_at = excluded.expires_at
RETURNING key
