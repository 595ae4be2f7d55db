-- Each key's place in the batch, and not a join, so that the primary key is used whatever the planner knows of the table.
UPDATE "idem_records"
SET state = 2,
    doubt = NULL,
    last = NULL,
    reply = ($3::bytea[])[array_position($1::bytea[], key)],
    expires_at = (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
        + ($4::bigint[])[array_position($1::bytea[], key)]
WHERE key = ANY($1::bytea[]) AND version = 1 AND state = 1
    AND token = ($2::bytea[])[array_position($1::bytea[], key)]
