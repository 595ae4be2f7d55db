-- For each key: what identifies the claim (token, flags and fingerprint), lease in µs, life in ms.

-- The answer where there is something under the key already, or where it could not be stored.
local function claim(key, id, lease, life)
  local value, state, failed = fetch(key)
  if failed then return nil, failed end
  if not value and state then return state end
  local token, tail = sub(id, 1, 16), sub(id, 17)
  local fence, attempts = now, 0
  if value then
    local own = sub(value, 3, 18) == token
    if state == COMPLETED then return 'C' .. sub(value, 39) end
    if state == RELEASED then
      -- A late copy of a claim that is over must not take the key again.
      if own then return 'P' .. pack('>I8', 0) .. sub(value, 39, 55) end
    elseif not own then
      local lease_end = unpack('>I8', value, 19)
      if lease_end > now then return 'P' .. pack('>I8', lease_end - now) .. sub(value, 39, 55) end
    end
    fence, attempts = unpack('>I8I4', value, 27)
    if own then
      tail = sub(value, 39)
    elseif fence < now then
      fence = now
    else
      fence = fence + 1
    end
  end
  local numbers = pack('>I8I8I4', now + lease, fence, attempts)
  return store(key, '\1P' .. token .. numbers .. tail, life, 'N' .. numbers)
end

-- Lease end, fence and attempts of a first claim; the keys of a batch mostly have one lease.
local first, granted, first_lease
local answers = {}
for i = 1, #KEYS do
  local key, id, lease, life = KEYS[i], ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if lease ~= first_lease then
    first, first_lease = pack('>I8I8I4', now + lease, now, 0), lease
    granted = 'N' .. first
  end
  -- Most keys are absent, and then this one step is all.
  local anew = '\1P' .. sub(id, 1, 16) .. first .. sub(id, 17)
  local made = pcall('SET', key, anew, 'NX', 'PX', life)
  if made and made.ok then
    answers[i] = granted
  else
    local failed
    answers[i], failed = claim(key, id, lease, life)
    if failed then return failed end
  end
end
return answers
