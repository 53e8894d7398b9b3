INSERT INTO afterword_migrations (version, oldest) VALUES (:version, :oldest)
