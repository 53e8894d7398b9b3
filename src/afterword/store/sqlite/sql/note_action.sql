-- The batches of one action are one row.
INSERT INTO afterword_audit (id, at, name, place, action, target, count)
VALUES (:id, :now, :name, :place, :action, :target, :count)
ON CONFLICT (id) DO UPDATE SET count = count + excluded.count
