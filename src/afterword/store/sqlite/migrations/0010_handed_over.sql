-- A job may end as 'handed_over'. SQLite cannot change a CHECK, and to copy the history could take minutes: so the text of the tables is
-- changed, as https://sqlite.org/lang_altertable.html#otheralter describes. A table
-- that comes and goes makes every connection read the new text.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(replace(sql, '(''completed'', ''failed''', '(''completed'', ''handed_over'', ''failed'''), '(state = ''completed'' OR', '(state IN (''completed'', ''handed_over'') OR')
WHERE type = 'table' AND name IN ('afterword_history', 'afterword_attempts');
CREATE TABLE afterword_changed (place INTEGER) STRICT;
DROP TABLE afterword_changed;
PRAGMA writable_schema = RESET;
