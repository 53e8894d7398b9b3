-- Make the transaction a writing one; changes nothing. One that reads first is refused if another one has written before it writes.
UPDATE afterword_store SET identity = identity WHERE 0
