UPDATE "idem_outbox" SET state = 2, due_at = /*now*/ + ? WHERE state = 1 AND id IN (/*ids*/)
