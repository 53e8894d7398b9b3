SELECT identity FROM afterword_store
