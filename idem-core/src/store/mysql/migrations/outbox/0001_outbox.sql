-- idem's outbox, version 1, for MySQL 8 and MariaDB 10.6 or later. Times are µs since 1970 by the server's clock.

-- A row for each local transaction of a producer: its message as it was committed, or that it is rolled back.
CREATE TABLE IF NOT EXISTS `idem_outbox` (
    `id`          BINARY(16)     NOT NULL PRIMARY KEY,
    `record_key`  VARBINARY(512) NULL UNIQUE COMMENT 'topic, tag and idempotency key, of what is not rolled back',
    `state`       SMALLINT       NOT NULL COMMENT '0 at work, 1 committed and to be sent, 2 sent, 3 rolled back',
    `made_at`     BIGINT         NOT NULL,
    `due_at`      BIGINT         NOT NULL COMMENT 'when the message is sent again (state 1); when the row may be deleted (else)',
    `topic`       VARCHAR(255)   NULL,
    `tag`         TEXT           NULL,
    `lookup_keys` TEXT           NULL COMMENT 'by which brokers find the message',
    `order_by`    TEXT           NULL COMMENT 'what chooses its message queue',
    `properties`  MEDIUMBLOB     NULL COMMENT 'the others: each a name, byte 1, a value, byte 2',
    `body`        LONGBLOB       NULL,
    INDEX `due` (`state`, `due_at`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The version of this schema, the producer group that the outbox belongs to, and who sweeps until when.
CREATE TABLE IF NOT EXISTS `idem_outbox_meta` (
    `name`     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    `value`    BIGINT         NOT NULL,
    `holder`   VARBINARY(255) NULL,
    `position` VARBINARY(512) NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

INSERT IGNORE INTO `idem_outbox_meta` (`name`, `value`) VALUES ('owner', 0), ('purge', 0), ('schema', 1);
