UPDATE afterword_jobs SET progress = :progress WHERE id = :id AND attempt = :attempt AND worker = :worker AND fence IS :fence RETURNING id
