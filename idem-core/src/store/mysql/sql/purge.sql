DELETE r FROM `idem_records` AS r FORCE INDEX (PRIMARY)
WHERE r.`key` IN (/*each*/?/*each*/)
