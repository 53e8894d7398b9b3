-- Make the transaction a writing one, without a change. A transaction that reads first fails if another one writes before it does.
UPDATE afterword_store SET identity = identity WHERE 0
