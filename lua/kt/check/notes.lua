--- The mistakes that a check has found: each once, in the order of their files and lines.
local notes = {}
notes.__index = notes

function notes.new()
  return setmetatable({ seen = {}, files = {}, count = 0 }, notes)
end

--- Where a mistake is, as text.
function notes.place(m) return ("%s:%d:%s"):format(m.file, m.line, m.path or "") end

--- mistake: { file, line, path, message, suggestion }; line 0: the whole file; path and suggestion may be nil.
function notes:add(mistake)
  local key = notes.place(mistake) .. ":" .. mistake.message
  if self.seen[key] then return end
  self.seen[key] = true
  self.count = self.count + 1
  mistake.nth = self.count
  self[self.count] = mistake
  self.files[mistake.file] = self.files[mistake.file] or self.count
end

function notes:sorted()
  local out = table.move(self, 1, self.count, 1, {})
  table.sort(out, function(a, b)
    if a.file ~= b.file then return self.files[a.file] < self.files[b.file] end
    if a.line ~= b.line then return a.line < b.line end
    return a.nth < b.nth
  end)
  return out
end

--- A mistake as one line, as compilers write it.
function notes.line(m)
  local place = m.line > 0 and ("%s:%d: "):format(m.file, m.line) or m.file .. ": "
  return place .. (m.path and m.path .. ": " or "") .. m.message .. (m.suggestion and "; " .. m.suggestion or "")
end

return notes
