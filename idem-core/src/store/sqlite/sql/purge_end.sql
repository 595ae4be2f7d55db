WITH range AS (SELECT key, expires_at FROM "idem_records" WHERE key > ?1 ORDER BY key LIMIT ?2)
SELECT (SELECT key FROM range ORDER BY key LIMIT 1 OFFSET ?2 - 1), (SELECT count(*) FROM range WHERE expires_at <= ?3)
