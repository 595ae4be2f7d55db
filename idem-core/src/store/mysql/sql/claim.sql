INSERT INTO `idem_records`
    (`key`, `token`, `fingerprint`, `member`, `message`, `lease_end`, `expires_at`, `version`, `state`, `attempts`, `fence`)
VALUES /*each*/(
    ?, ?, ?, ?, ?,
    (@idem_now := /*now*/) + ?,
    CAST(@idem_now AS SIGNED) + ?,
    1, 1, 0,
    CAST(@idem_now AS SIGNED)
)/*each*/
-- The fence that would be inserted is the clock, just before the row is written. Assignments are made from first to last,
-- and a later one sees the new values of the earlier ones: so the first one says whether the key can be claimed.
ON DUPLICATE KEY UPDATE
    `doubt` = IF(
        @idem_takes := (`expires_at` <= VALUES(`fence`) OR `version` = 1 AND (
            `state` = 1 AND (`lease_end` <= VALUES(`fence`) OR `token` = VALUES(`token`))
            OR `state` = 3 AND `token` <> VALUES(`token`))),
        IF(`expires_at` <= VALUES(`fence`), NULL,
            -- A run whose lease has run out is in doubt: vanished. A doubt that is there stays.
            IF(`doubt` IS NULL AND `state` = 1 AND `token` <> VALUES(`token`),
                CONCAT(X'01', UNHEX(LPAD(HEX(`fence`), 16, '0')), UNHEX(LPAD(HEX(LEAST(`attempts`, 2147483646) + 1), 8, '0')), `member`),
                `doubt`)),
        `doubt`),
    `last` = IF(@idem_takes AND `expires_at` <= VALUES(`fence`), NULL, `last`),
    `member` = IF(@idem_takes, VALUES(`member`), `member`),
    `message` = IF(@idem_takes, VALUES(`message`), `message`),
    `fence` = IF(
        @idem_takes,
        IF(`state` = 1 AND `token` = VALUES(`token`), `fence`,
            -- The row is locked by now, and whoever had it before has its fence from before.
            GREATEST(`fence` + 1, VALUES(`fence`), /*now*/)),
        `fence`),
    `attempts` = IF(@idem_takes AND `expires_at` <= TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)),
        0, `attempts`),
    `fingerprint` = IF(@idem_takes AND NOT (`state` = 1 AND `token` = VALUES(`token`)),
        VALUES(`fingerprint`), `fingerprint`),
    `lease_end` = IF(@idem_takes, VALUES(`lease_end`), `lease_end`),
    `expires_at` = IF(@idem_takes, VALUES(`expires_at`), `expires_at`),
    `token` = IF(@idem_takes, VALUES(`token`), `token`),
    `reply` = IF(@idem_takes, NULL, `reply`),
    `state` = IF(@idem_takes, 1, `state`),
    `version` = IF(@idem_takes, 1, `version`)
