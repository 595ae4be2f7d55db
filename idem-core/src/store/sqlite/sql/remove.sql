DELETE FROM "idem_records"
WHERE key = ?1 AND version = 1 AND state IN (1, 2, 3) AND expires_at > ?2 AND (?3 IS NULL OR token = ?3)
