SELECT CAST(id AS text), attempt, cancelling FROM afterword.jobs WHERE worker = :worker AND cancelling IS NOT NULL
