DELETE FROM history WHERE id IN (SELECT id FROM history WHERE finished_at < :before ORDER BY finished_at LIMIT :limit) RETURNING id
