-- The index is forced, because a small table would be read as a whole, and wait for the records of other transactions.
-- MariaDB takes a join for an update without a key, which `sql_safe_updates` forbids; MySQL reads a comment here.
/*M! SET STATEMENT sql_safe_updates = 0 FOR */ UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    `key` VARCHAR(1024) CHARACTER SET ascii PATH '$[0]',
    `token` VARCHAR(32) CHARACTER SET ascii PATH '$[1]',
    `lease` BIGINT PATH '$[2]',
    `retention` BIGINT PATH '$[3]',
    `ends_doubt` VARCHAR(16) CHARACTER SET ascii PATH '$[4]'
)) AS i
STRAIGHT_JOIN `idem_records` AS r FORCE INDEX (PRIMARY) ON r.`key` = UNHEX(i.`key`)
SET r.`lease_end` = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + i.`lease`,
    r.`expires_at` = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + i.`lease` + i.`retention`,
    r.`doubt` = IF(i.`ends_doubt` IS NULL, r.`doubt`, NULL)
WHERE r.`version` = 1 AND r.`state` = 1 AND r.`token` = UNHEX(i.`token`)
    AND r.`expires_at` > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
    -- The fence of a doubt is behind its cause.
    AND (i.`ends_doubt` IS NULL OR r.`doubt` IS NULL OR SUBSTRING(r.`doubt`, 2, 8) = UNHEX(i.`ends_doubt`))
