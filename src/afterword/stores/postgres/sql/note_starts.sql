INSERT INTO afterword.rates (key, starts, expires_at)
SELECT key, CAST(starts AS json), to_timestamp(expires_at)
FROM unnest(CAST(:keys AS text[]), CAST(:starts AS text[]), CAST(:expire_ats AS double precision[])) AS kept (key, starts, expires_at)
ON CONFLICT (key) DO UPDATE SET starts = excluded.starts, expires_at = excluded.expires_at
RETURNING key
