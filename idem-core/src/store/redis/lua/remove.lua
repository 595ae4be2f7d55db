-- Takes a record out. For the one key: the token of its last claim, where it must be that one.
local value, state, failed = fetch(KEYS[1])
if failed then return failed end
if not value then return state or 'L' end
if ARGV[1] and ARGV[1] ~= sub(value, 3, 18) then return 'L' end
local removed = pcall('DEL', KEYS[1])
if type(removed) == 'table' then return removed end
return 'D'
