DELETE FROM afterword_attempts WHERE job_id = :id AND attempt <= :last
