SELECT CAST(id AS text), CAST(extract(epoch FROM at) AS double precision), name, place, action, target, count
FROM afterword.audit WHERE id < CAST(:before AS uuid) ORDER BY id DESC LIMIT :limit
