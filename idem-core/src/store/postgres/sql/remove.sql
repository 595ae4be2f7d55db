DELETE FROM "idem_records"
WHERE key = $1 AND version = 1 AND state IN (1, 2, 3) AND token = coalesce($2, token)
    AND expires_at > (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
