-- A job may end as 'handed_over'. NOT VALID: the rows that are there need not be read again.
ALTER TABLE afterword.history
    DROP CONSTRAINT history_state_check,
    ADD CONSTRAINT history_state_check CHECK (state IN ('completed', 'handed_over', 'failed', 'cancelled')) NOT VALID,
    DROP CONSTRAINT history_check,
    ADD CONSTRAINT history_check CHECK (state IN ('completed', 'handed_over') OR error IS NOT NULL) NOT VALID;
ALTER TABLE afterword.attempts
    DROP CONSTRAINT attempts_outcome_check,
    ADD CONSTRAINT attempts_outcome_check CHECK (outcome IN ('completed', 'handed_over', 'failed', 'cancelled', 'interrupted', 'lost')) NOT VALID;
-- By state: jobs that were handed over, or failed, may be many, and those in another state are counted without reading them.
DROP INDEX afterword.history_not_completed;
CREATE INDEX history_not_completed ON afterword.history (state, id) WHERE state <> 'completed';
