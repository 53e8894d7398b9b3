SELECT name, task, rule, words, next_at, last_at, paused, seen_at FROM afterword_schedules ORDER BY name
