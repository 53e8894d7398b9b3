SELECT starts FROM afterword_rates WHERE key = :key
