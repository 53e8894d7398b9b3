-- The job of an occurrence is kept for a while: see OCCURRENCE_KEPT.
DELETE FROM afterword_history
WHERE id IN (
    SELECT id FROM afterword_history
    WHERE finished_at <= :before AND (finished_at <= :occurrences_before OR instr(coalesce(tags, ''), '"schedule:') = 0)
    ORDER BY finished_at LIMIT :limit
)
RETURNING id
