DELETE FROM `idem_records`
WHERE `key` = ? AND `version` = 1 AND `state` IN (1, 2, 3)
    AND `expires_at` > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
    AND (? IS NULL OR `token` = ?)
