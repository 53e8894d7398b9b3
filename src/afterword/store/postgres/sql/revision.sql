-- SQLite counts commits itself. Here every commit writes to the log, also one that was prepared before the last look.
SELECT CAST(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS text)
