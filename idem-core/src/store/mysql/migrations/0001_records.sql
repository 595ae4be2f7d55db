-- idem's tables, version 1, for MySQL 8 and MariaDB 10.6 or later. Times are µs since 1970 by the server's clock.

CREATE TABLE IF NOT EXISTS `idem_records` (
    `key`         VARBINARY(512) NOT NULL PRIMARY KEY,
    `version`     SMALLINT       NOT NULL COMMENT 'of the record',
    `state`       SMALLINT       NOT NULL COMMENT '1 in progress, 2 completed, 3 released',
    `token`       BINARY(16)     NOT NULL COMMENT 'who claimed it last',
    `fence`       BIGINT         NOT NULL COMMENT 'the number of the last claim',
    `attempts`    INT            NOT NULL COMMENT 'runs that failed and were counted',
    `lease_end`   BIGINT         NOT NULL,
    `expires_at`  BIGINT         NOT NULL COMMENT 'from then on the record counts as absent',
    `member`      BINARY(8)      NOT NULL COMMENT 'the process that claimed it last',
    `doubt`       VARBINARY(21)  NULL COMMENT 'a run that ended without an answer: cause, fence, attempt, member',
    `last`        VARBINARY(255) NULL COMMENT 'the last run that did not complete it: outcome, length, error',
    `fingerprint` BINARY(16)     NULL COMMENT 'of the payload, where the handler asks for it',
    `message`     VARBINARY(32)  NULL COMMENT 'the message that it was claimed for last',
    `reply`       LONGBLOB       NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What is not of one key: the version of this schema, an epoch that an operator raises after a restore, and who purges
-- until when, and how far the purge has come.
CREATE TABLE IF NOT EXISTS `idem_records_meta` (
    `name`     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    `value`    BIGINT         NOT NULL,
    `holder`   VARBINARY(16)  NULL,
    `position` VARBINARY(512) NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS `idem_records_members` (
    `id`             BINARY(8)    NOT NULL PRIMARY KEY COMMENT 'a record''s member',
    `host`           VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    `process`        BIGINT       NOT NULL,
    `version`        VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL COMMENT 'of idem',
    `consumer_group` VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    `started_at`     BIGINT       NOT NULL,
    `seen_at`        BIGINT       NOT NULL,
    `expires_at`     BIGINT       NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT 'the processes that claim';

CREATE TABLE IF NOT EXISTS `idem_records_audit` (
    `id`         BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `made_at`    BIGINT        NOT NULL,
    `number`     BIGINT        NOT NULL COMMENT 'equal in the two entries of a decision',
    `is_end`     BIGINT        NOT NULL COMMENT '0 before it, 1 behind it',
    `who`        VARCHAR(255)  CHARACTER SET utf8mb4 NOT NULL,
    `decision`   VARCHAR(16)   CHARACTER SET utf8mb4 NOT NULL,
    `forced`     BIGINT        NOT NULL,
    `record_key` BLOB          NOT NULL,
    `said`       VARCHAR(1024) CHARACTER SET utf8mb4 NOT NULL COMMENT 'why; or how it ended'
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT 'the decisions of people about records';

INSERT IGNORE INTO `idem_records_meta` (`name`, `value`) VALUES
    ('epoch', TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
    ('purge', 0),
    ('schema', 1);
