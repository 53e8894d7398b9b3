(SELECT count(*) FROM (SELECT 1 FROM afterword_jobs WHERE /* wanted */ LIMIT :limit))
