SELECT id, host, process, version, consumer_group, started_at, seen_at
FROM "idem_records_members" WHERE expires_at > /*now*/
