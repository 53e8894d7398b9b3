SELECT
    current_setting('server_version'),
    concat_ws(', ', 'fsync ' || current_setting('fsync'), 'synchronous_commit ' || current_setting('synchronous_commit')),
    CAST(extract(epoch FROM clock_timestamp()) AS double precision),
    -- Only the transactions that this role may see: with pg_monitor, all.
    (
        SELECT CAST(coalesce(max(extract(epoch FROM now() - xact_start)), 0) AS double precision)
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    ),
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = 'afterword' AND relname = 'jobs'),
    (SELECT max(version) FROM afterword.migrations),
-- With indexes and TOAST tables.
    (
        SELECT CAST(coalesce(sum(pg_total_relation_size(oid)), 0) AS bigint) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = CAST('afterword' AS regnamespace)
    )
