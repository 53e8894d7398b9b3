-- Changes nothing. A transaction that reads first and writes then is refused at once if another one has written in between.
UPDATE afterword_store SET identity = identity WHERE 0
