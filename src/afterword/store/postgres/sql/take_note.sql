UPDATE afterword.workers SET rules = CAST(:version AS integer) WHERE id = :worker
RETURNING id
