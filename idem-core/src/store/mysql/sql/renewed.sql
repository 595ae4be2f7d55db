-- Behind a renewal: where a doubt was to end and is there, it is another one.
SELECT `key`, `doubt` IS NULL, `version`, `state`, `token`
FROM `idem_records`
WHERE `key` IN (/*each*/?/*each*/)
    AND `expires_at` > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
