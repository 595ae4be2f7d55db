-- The index is forced, because a small table would be read as a whole, and wait for the records of other transactions.
-- MariaDB takes a join for an update without a key, which `sql_safe_updates` forbids; MySQL reads a comment here.
/*M! SET STATEMENT sql_safe_updates = 0 FOR */ UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    `key` VARCHAR(1024) CHARACTER SET ascii PATH '$[0]',
    `token` VARCHAR(32) CHARACTER SET ascii PATH '$[1]',
    `retention` BIGINT PATH '$[2]',
    `counted` INT PATH '$[3]',
    `doubt` VARCHAR(42) CHARACTER SET ascii PATH '$[4]',
    `last` VARCHAR(510) CHARACTER SET ascii PATH '$[5]'
)) AS i
STRAIGHT_JOIN `idem_records` AS r FORCE INDEX (PRIMARY) ON r.`key` = UNHEX(i.`key`)
SET r.`state` = 3,
    -- 0 keeps the number, 1 counts one, -1 begins anew.
    r.`attempts` = IF(i.`counted` = -1, 0, LEAST(CAST(r.`attempts` AS SIGNED) + i.`counted`, 2147483647)),
    r.`doubt` = COALESCE(UNHEX(i.`doubt`), r.`doubt`),
    r.`last` = COALESCE(UNHEX(i.`last`), r.`last`),
    r.`expires_at` = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + i.`retention`
WHERE r.`version` = 1 AND r.`state` = 1 AND r.`token` = UNHEX(i.`token`)
    AND r.`expires_at` > TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
