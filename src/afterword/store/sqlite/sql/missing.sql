-- Find, among the next predecessors, those that do not exist: one seek for each, for any number of followers.
WITH RECURSIVE looked (after, number) AS (
    SELECT min(after), 1 FROM afterword_jobs WHERE after > :last
    UNION ALL
    SELECT (SELECT min(after) FROM afterword_jobs WHERE after > looked.after), number + 1
    FROM looked WHERE number < :limit AND looked.after IS NOT NULL
)
SELECT after, after NOT IN (SELECT id FROM afterword_jobs) FROM looked WHERE after IS NOT NULL ORDER BY after
