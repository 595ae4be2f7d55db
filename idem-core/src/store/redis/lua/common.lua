-- What the scripts share. It is put in front of each of them.
--
-- ARGV has what all keys of a batch share, then one value for each key.
--
-- A value is laid out as Record::encode writes it; positions here count from 1:
--   1 version | 2 state | 3-18 token | 19-26 lease end, µs | 27-34 fence | 35-38 attempts
--   39-46 member | 47 flags | 48- doubt (21 bytes) | last run | fingerprint (16 bytes) | message | reply
-- The flags say which of the last five are there: 1 doubt, 2 last run, 4 fingerprint, 8 message, 16 reply.
-- Times and fences stay below 2^53, so that Lua's doubles hold them exactly.
--
-- An answer is one string for each key, or one string for all of them, and its first byte says what it is:
--   N claimed | P in progress | C completed | D done | L lost
--   X a value that is no record of this version | O no memory for a new record

-- Redis 6 must be told to replicate what a script does instead of the script, because it reads the clock.
if redis.replicate_commands then redis.replicate_commands() end

local pcall, byte, char, sub = redis.pcall, string.byte, string.char, string.sub
local pack, unpack, spread = struct.pack, struct.unpack, unpack

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local IN_PROGRESS, COMPLETED, RELEASED = 80, 67, 82

-- The value of a key and its state; or nil and the answer that its place in the batch gets, which is false
-- where the key is absent; or nil, nil and an error that fails the whole batch.
local function fetch(key)
  local value = pcall('GET', key)
  if not value then return nil, false end
  if type(value) == 'table' then
    if string.find(value.err, 'WRONGTYPE', 1, true) then return nil, 'X' end
    return nil, nil, value
  end
  local version, state = byte(value, 1, 2)
  if version ~= 1 or #value < 47 or (state ~= IN_PROGRESS and state ~= COMPLETED and state ~= RELEASED) then
    return nil, 'X' .. sub(value, 1, 47)
  end
  return value, state
end

-- What a record keeps from claim to claim: its doubt and its last run, each empty where there is none; and where the rest
-- begins.
local function kept(value)
  local flags, at, doubt, last = byte(value, 47), 48, '', ''
  if flags % 2 == 1 then doubt, at = sub(value, 48, 68), 69 end
  if flags % 4 >= 2 then
    local behind = at + 2 + byte(value, at + 1)
    last, at = sub(value, at, behind - 1), behind
  end
  return doubt, last, at
end

-- The flags of what is kept, and what is kept.
local function flagged(flags, doubt, last)
  flags = flags - flags % 4
  if doubt ~= '' then flags = flags + 1 end
  if last ~= '' then flags = flags + 2 end
  return char(flags) .. doubt .. last
end

-- Stores a value; the answer is `done`, or O where memory is short, or nil and an error that fails the batch.
local function store(key, value, px, done)
  local result = pcall('SET', key, value, 'PX', px)
  if not result.err then return done end
  if string.find(result.err, 'OOM', 1, true) then return 'O' end
  return nil, result
end

-- What a script returns: mostly all keys have the same answer, which is then said once.
local function together(answers)
  local one = answers[1]
  for i = 2, #answers do
    if answers[i] ~= one then return answers end
  end
  return one
end
