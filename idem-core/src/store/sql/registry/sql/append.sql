INSERT INTO "idem_records_audit" (made_at, number, is_end, who, decision, forced, record_key, said)
VALUES (/*now*/, ?, ?, ?, ?, ?, ?, ?)
