SELECT id FROM afterword.workers WHERE rules < :version AND expires_at > now()
