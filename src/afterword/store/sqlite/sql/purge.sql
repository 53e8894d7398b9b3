DELETE FROM afterword_history WHERE id IN (SELECT id FROM afterword_history WHERE finished_at <= :before ORDER BY finished_at LIMIT :limit) RETURNING id
