UPDATE "idem_records"
SET state = 2, reply = ?, expires_at = ? + ?
WHERE key = ? AND version = 1 AND state = 1 AND token = ?
