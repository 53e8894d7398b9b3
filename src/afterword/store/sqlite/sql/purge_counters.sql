DELETE FROM afterword_counters WHERE seconds = :seconds AND starts_at < :before
