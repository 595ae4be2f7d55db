UPDATE "idem_records_meta"
SET holder = ?2, value = ?1 + ?3, position = coalesce(?4, position)
WHERE name = 'purge' AND (holder = ?2 OR value <= ?1)
RETURNING coalesce(position, x'')
