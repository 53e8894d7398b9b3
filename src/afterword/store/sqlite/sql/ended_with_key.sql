SELECT id FROM afterword_history WHERE unique_key = :key ORDER BY id DESC LIMIT 1
