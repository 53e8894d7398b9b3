SELECT identity FROM afterword.store
