-- From the index of those in doubt.
SELECT "key", (CASE WHEN "expires_at" > /*now*/ THEN 1 ELSE 0 END)/*long*/, "version"/*long*/, "state"/*long*/, "token", "fence", "attempts"/*long*/, "lease_end", /*now*/,
    "fingerprint", "reply", "member", "doubt", "last", "message"
FROM "idem_records"
WHERE "doubt" IS NOT NULL AND "key" >= ? AND "key" < ?
ORDER BY "key" LIMIT ?
