SELECT `key`, 1, `version`, `state`, `token`, `fence`, `attempts`, `lease_end`,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), `fingerprint`, `reply`, `member`, `doubt`, `last`, `message`
FROM `idem_records`
WHERE `key` IN (/*each*/?/*each*/)
    AND `expires_at` > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
