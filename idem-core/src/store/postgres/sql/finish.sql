UPDATE "idem_records"
SET state = 2, reply = $3, expires_at = (extract(epoch FROM statement_timestamp()) * 1000000)::bigint + $4
WHERE key = $1 AND version = 1 AND state = 1 AND token = $2
