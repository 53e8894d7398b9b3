INSERT INTO afterword.audit (id, at, name, place, action, target, count)
VALUES (CAST(:id AS uuid), now(), :name, :place, :action, :target, :count)
RETURNING 1
