UPDATE afterword_store SET rules = rules + 1 RETURNING rules
