DELETE FROM afterword_logs WHERE job_id = :id AND attempt <= :last
