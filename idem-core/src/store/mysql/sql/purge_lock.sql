-- By the index, also where most of a small table has expired: a scan would lock every record. What a transaction holds is left
-- to the next walk.
SELECT `key` FROM `idem_records` FORCE INDEX (PRIMARY)
WHERE `key` IN (/*each*/?/*each*/)
    AND `expires_at` <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
FOR UPDATE SKIP LOCKED
