INSERT INTO "idem_records_members" (id, host, process, version, consumer_group, started_at, seen_at, expires_at)
VALUES (?, ?, ?, ?, ?, /*now*/, /*now*/, /*now*/ + ?)
/*upsert*/ seen_at = /*now*/, expires_at = /*now*/ + ?
