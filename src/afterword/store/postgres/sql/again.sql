-- Lock these ended jobs, and the followers that were cancelled because of them, directly or not.
WITH RECURSIVE again (id) AS (
    SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
    UNION
    SELECT follower.id FROM afterword.history AS follower JOIN again ON follower.after = again.id
    WHERE follower.state = 'cancelled' AND follower.after IS NOT NULL AND follower.error = :stopped
)
SELECT CAST(id AS text), CAST(after AS text) FROM afterword.history WHERE id IN (SELECT id FROM again) ORDER BY id FOR UPDATE
