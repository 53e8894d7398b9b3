UPDATE afterword_workers SET rules = :version WHERE id = :worker
