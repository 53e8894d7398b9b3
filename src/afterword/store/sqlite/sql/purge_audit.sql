DELETE FROM afterword_audit WHERE id IN (SELECT id FROM afterword_audit WHERE at < :before ORDER BY at LIMIT :limit)
