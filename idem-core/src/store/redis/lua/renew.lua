-- For all keys: lease in µs, life in ms. For each: token, and where a doubt is over the eight bytes of its fence.
local lease, life = ARGV[1], ARGV[2]
local answers = {}
for i = 1, #KEYS do
  local value, state, failed = fetch(KEYS[i])
  local answer = 'L'
  if failed then return failed end
  if not value then
    answer = state or 'L'
  elseif state == IN_PROGRESS and sub(value, 3, 18) == sub(ARGV[i + 2], 1, 16) then
    local moved, ended = sub(value, 1, 18) .. pack('>I8', now + lease) .. sub(value, 27), sub(ARGV[i + 2], 17)
    if ended ~= '' then
      local doubt, last, at = kept(value)
      if doubt ~= '' and sub(doubt, 2, 9) ~= ended then moved = nil end
      if moved then moved = sub(moved, 1, 46) .. flagged(byte(value, 47), '', last) .. sub(value, at) end
    end
    if moved then
      answer, failed = store(KEYS[i], moved, life, 'D')
      if failed then return failed end
    end
  end
  answers[i] = answer
end
return together(answers)
