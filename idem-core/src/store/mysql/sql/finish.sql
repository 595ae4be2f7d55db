UPDATE `idem_records`
SET `state` = 2, `reply` = ?, `expires_at` = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?
WHERE `key` = ? AND `version` = 1 AND `state` = 1 AND `token` = ?
