UPDATE afterword_workers SET expires_at = :now + :lease, lease = :lease WHERE id = :worker RETURNING id
