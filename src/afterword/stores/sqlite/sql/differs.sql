-- Whether the job that is there is another call than the one that was to be added.
SELECT 1 FROM (
    SELECT id, task, arguments FROM afterword_jobs WHERE id = :id
    UNION ALL
    SELECT id, task, arguments FROM afterword_history WHERE id = :id
)
WHERE task <> :task OR arguments <> :arguments
