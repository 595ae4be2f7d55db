-- The first eight digits of a segment's name are the timeline. A server that begins anew has another time of its start; one
-- whose process goes on while its memory is made anew, because a backend crashed, has dropped its statistics. Numbers,
-- because a time's text depends on the session.
SELECT concat_ws(' ',
    (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
    (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
    (SELECT (extract(epoch FROM stats_reset) * 1000000)::bigint FROM pg_stat_bgwriter),
    value)
FROM "idem_records_meta" WHERE name = 'epoch'
