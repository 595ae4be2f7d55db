-- A row that is committed at work is of a transaction that ended itself halfway.
INSERT INTO "idem_outbox" (id, state, made_at, due_at)
VALUES (?, 3, /*now*/, /*now*/ + ?)
/*upsert*/ state = CASE WHEN "idem_outbox".state = 0 THEN 3 ELSE "idem_outbox".state END
