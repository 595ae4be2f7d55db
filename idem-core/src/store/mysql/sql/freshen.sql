-- As a renewal. Of keys that this claim holds.
/*M! SET STATEMENT sql_safe_updates = 0 FOR */ UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    `key` VARCHAR(1024) CHARACTER SET ascii PATH '$[0]',
    `token` VARCHAR(32) CHARACTER SET ascii PATH '$[1]'
)) AS i
STRAIGHT_JOIN `idem_records` AS r FORCE INDEX (PRIMARY) ON r.`key` = UNHEX(i.`key`)
SET r.`fence` = GREATEST(r.`fence` + 1, /*now*/)
WHERE r.`version` = 1 AND r.`state` = 1 AND r.`token` = UNHEX(i.`token`)
