-- For all keys: lease in µs, life in ms. For each: the head of its record up to the token; then member, flags, and the
-- fingerprint and message that they say are there.

local lease, life = ARGV[1], ARGV[2]
-- Lease end, fence and attempts of a first claim.
local first = pack('>I8I8I4', now + lease, now, 0)

-- The answer where there is something under the key already, or where it could not be stored.
local function claim(key, head, tail)
  local value, state, failed = fetch(key)
  if failed then return nil, failed end
  if not value and state then return state end
  local fence, attempts, doubt, last = now, 0, '', ''
  if value then
    local own = sub(value, 3, 18) == sub(head, 3)
    if state == COMPLETED then return 'C' .. sub(value, 47) end
    if state == RELEASED then
      -- A late copy of a claim that is over must not take the key again.
      if own then return 'P' .. pack('>I8', 0) .. sub(value, 47) end
    elseif not own then
      local lease_end = unpack('>I8', value, 19)
      if lease_end > now then return 'P' .. pack('>I8', lease_end - now) .. sub(value, 47) end
    end
    fence, attempts = unpack('>I8I4', value, 27)
    doubt, last = kept(value)
    if own then
      local numbers = pack('>I8I8I4', now + lease, fence, attempts)
      return store(key, head .. numbers .. sub(value, 39), life, 'N' .. numbers .. doubt)
    end
    -- The run whose lease has run out is in doubt: vanished, with the fence, attempt and member of its claim. A doubt that is
    -- there stays.
    if state == IN_PROGRESS and doubt == '' then
      local attempt = math.min(attempts, 4294967294) + 1
      doubt = '\1' .. sub(value, 27, 34) .. pack('>I4', attempt) .. sub(value, 39, 46)
    end
    if fence < now then fence = now else fence = fence + 1 end
  end
  local numbers = pack('>I8I8I4', now + lease, fence, attempts)
  local record = head .. numbers .. sub(tail, 1, 8) .. flagged(byte(tail, 9), doubt, last) .. sub(tail, 10)
  return store(key, record, life, 'N' .. numbers .. doubt)
end

local granted = 'N' .. first
local answers = {}
for i = 1, #KEYS do
  local key, head, tail = KEYS[i], sub(ARGV[i + 2], 1, 18), sub(ARGV[i + 2], 19)
  -- Most keys are absent, and then this one step is all.
  local made = pcall('SET', key, head .. first .. tail, 'NX', 'PX', life)
  if made and made.ok then
    answers[i] = granted
  else
    local failed
    answers[i], failed = claim(key, head, tail)
    if failed then return failed end
  end
end
return together(answers)
