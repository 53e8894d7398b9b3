SELECT id, at, name, place, action, target, count FROM afterword_audit WHERE id < :before ORDER BY id DESC LIMIT :limit
