-- Of keys that this claim holds.
UPDATE "idem_records" r
SET fence = greatest(r.fence + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
FROM unnest($1::bytea[], $2::bytea[]) AS i (key, token)
WHERE r.key = i.key AND r.version = 1 AND r.state = 1 AND r.token = i.token
