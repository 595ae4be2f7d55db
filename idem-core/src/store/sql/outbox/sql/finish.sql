UPDATE "idem_outbox" SET state = 1, due_at = /*now*/ + ? WHERE id = ? AND state = 0
