-- Other changes of rules wait until this one is committed: so a process that sees a number sees all the changes up to it.
UPDATE afterword.store SET rules = rules + 1 RETURNING rules
