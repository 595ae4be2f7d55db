INSERT INTO `idem_records`
    (`key`, `token`, `fence`, `fingerprint`, `reply`, `member`, `message`, `expires_at`, `version`, `state`, `attempts`, `lease_end`)
VALUES /*each*/(
    ?, ?, ?, ?, ?, ?, ?,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + ?,
    1, 2, 0,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))
)/*each*/
-- The lease's end that would be inserted is the clock. What has expired is made anew. Assignments are made from first to
-- last, and a later one sees the new values of the earlier ones.
ON DUPLICATE KEY UPDATE
    `reply` = IF(
        @idem_ends := (`expires_at` <= VALUES(`lease_end`)
            OR `version` = 1 AND `state` = 1 AND `token` = VALUES(`token`)),
        VALUES(`reply`), `reply`),
    `fence` = IF(`expires_at` <= VALUES(`lease_end`), GREATEST(`fence`, VALUES(`fence`)), `fence`),
    `attempts` = IF(`expires_at` <= VALUES(`lease_end`), 0, `attempts`),
    `fingerprint` = IF(`expires_at` <= VALUES(`lease_end`), VALUES(`fingerprint`), `fingerprint`),
    `member` = IF(`expires_at` <= VALUES(`lease_end`), VALUES(`member`), `member`),
    `message` = IF(`expires_at` <= VALUES(`lease_end`), VALUES(`message`), `message`),
    `doubt` = IF(@idem_ends, NULL, `doubt`),
    `last` = IF(@idem_ends, NULL, `last`),
    `expires_at` = IF(@idem_ends, VALUES(`expires_at`), `expires_at`),
    `token` = IF(@idem_ends, VALUES(`token`), `token`),
    `state` = IF(@idem_ends, 2, `state`),
    `version` = IF(@idem_ends, 1, `version`)
