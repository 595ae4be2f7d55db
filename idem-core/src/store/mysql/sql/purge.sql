-- By the index (which MariaDB takes for the sake of the second condition), also where most of a small table has expired: a scan would wait for every record that a transaction holds.
DELETE r FROM `idem_records` AS r FORCE INDEX (PRIMARY)
WHERE r.`key` IN (/*each*/?/*each*/)
    AND r.`expires_at` <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
