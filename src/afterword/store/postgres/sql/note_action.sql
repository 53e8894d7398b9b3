-- The batches of one action are one row.
INSERT INTO afterword.audit AS noted (id, at, name, place, action, target, count)
VALUES (CAST(:id AS uuid), now(), :name, :place, :action, :target, :count)
ON CONFLICT (id) DO UPDATE SET count = noted.count + excluded.count
RETURNING 1
