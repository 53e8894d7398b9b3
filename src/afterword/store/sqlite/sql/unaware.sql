SELECT id FROM afterword_workers WHERE rules < :version AND expires_at > :now
