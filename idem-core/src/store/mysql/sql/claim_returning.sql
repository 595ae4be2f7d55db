RETURNING `key`, 1, `version`, `state`, `token`, `fence`, `attempts`, `lease_end`,
    /*now*/, `fingerprint`, `reply`, `member`, `doubt`, `last`, `message`
