UPDATE afterword.schedules SET paused = :paused WHERE name = :name RETURNING name
