SELECT `key` FROM `idem_records`
WHERE `key` > ? AND (? IS NULL OR `key` <= ?)
    AND `expires_at` <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
