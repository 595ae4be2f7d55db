RETURNING `key`, 1, `version`, `state`, `token`
