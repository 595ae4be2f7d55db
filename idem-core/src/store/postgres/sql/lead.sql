WITH clock AS (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
)
UPDATE "idem_records_meta"
SET holder = $1, value = now + $2, position = coalesce($3, position)
FROM clock
WHERE name = 'purge' AND (holder = $1 OR value <= now)
RETURNING coalesce(position, '')
