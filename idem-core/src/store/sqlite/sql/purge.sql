-- Up to the end of the range, or of the table.
DELETE FROM "idem_records" WHERE key > ?1 AND (?2 IS NULL OR key <= ?2) AND expires_at <= ?3
