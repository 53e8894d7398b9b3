INSERT INTO afterword_audit (id, at, name, place, action, target, count) VALUES (:id, :now, :name, :place, :action, :target, :count)
