UPDATE `idem_records_meta`
SET `holder` = ?, `value` = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?,
    `position` = COALESCE(?, `position`)
WHERE `name` = 'purge'
    AND (`holder` = ? OR `value` <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))
