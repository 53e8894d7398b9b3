UPDATE afterword_schedules SET paused = :paused WHERE name = :name RETURNING name
