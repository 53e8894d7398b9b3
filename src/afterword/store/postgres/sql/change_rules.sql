-- Others who change a rule wait until this one is committed: so whoever sees a number sees all the changes up to it.
UPDATE afterword.store SET rules = rules + 1 RETURNING rules
