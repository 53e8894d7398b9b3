SELECT state, count(*) FROM jobs GROUP BY state
UNION ALL
SELECT state, count(*) FROM history GROUP BY state
