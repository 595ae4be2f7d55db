-- For each key: what identifies the claim (token, flags and fingerprint), lease in µs, life in ms.
local answers = {}
for i = 1, #KEYS do
  local id = ARGV[3 * i - 2]
  local value, state, failed = fetch(KEYS[i])
  local answer
  if failed then return failed end
  if not value and state then
    answer = state
  else
    local token, tail = sub(id, 1, 16), sub(id, 17)
    local fence, attempts = now, 0
    if value then
      local own = sub(value, 3, 18) == token
      if state == COMPLETED then
        answer = 'C' .. sub(value, 39)
      elseif state == RELEASED then
        -- A late copy of a claim that is over must not take the key again.
        if own then answer = 'P' .. pack('>I8', 0) .. sub(value, 39, 55) end
      elseif not own then
        local lease_end = unpack('>I8', value, 19)
        if lease_end > now then answer = 'P' .. pack('>I8', lease_end - now) .. sub(value, 39, 55) end
      end
      if not answer then
        fence, attempts = unpack('>I8I4', value, 27)
        if own then
          tail = sub(value, 39)
        elseif fence < now then
          fence = now
        else
          fence = fence + 1
        end
      end
    end
    if not answer then
      local numbers = pack('>I8I8I4', now + ARGV[3 * i - 1], fence, attempts)
      answer, failed = store(KEYS[i], '\1P' .. token .. numbers .. tail, ARGV[3 * i], 'N' .. numbers)
      if failed then return failed end
    end
  end
  answers[i] = answer
end
return answers
