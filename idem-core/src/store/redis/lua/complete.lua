-- For each key: the completed record as it is made anew where there is none, life in ms.
local answers = {}
for i = 1, #KEYS do
  local anew = ARGV[2 * i - 1]
  local value, state, failed = fetch(KEYS[i])
  local answer = 'L'
  local completed
  if failed then return failed end
  if not value then
    if state then answer = state else completed = anew end
  elseif sub(value, 3, 18) == sub(anew, 3, 18) then
    if state == COMPLETED then
      answer = 'D'
    elseif state == IN_PROGRESS then
      -- The record's own fingerprint, the request's reply.
      local fingerprinted, replied = byte(value, 39) % 2, byte(anew, 39) >= 2 and 2 or 0
      completed = '\1C' .. sub(value, 3, 38) .. string.char(fingerprinted + replied)
        .. sub(value, 40, 55) .. sub(anew, 56)
    end
  end
  if completed then
    answer, failed = store(KEYS[i], completed, ARGV[2 * i], 'D')
    if failed then return failed end
  end
  answers[i] = answer
end
return answers
