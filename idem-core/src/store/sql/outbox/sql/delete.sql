DELETE FROM "idem_outbox" WHERE state IN (0, 2, 3) AND due_at <= /*now*/ AND id IN (/*ids*/)
