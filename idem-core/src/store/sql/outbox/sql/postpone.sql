UPDATE "idem_outbox" SET due_at = /*now*/ + ? WHERE state = 1 AND id = ?
