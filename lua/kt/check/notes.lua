--- The mistakes that a check has found, without duplicates, sorted by file and line.
local notes = {}
notes.__index = notes

function notes.new()
  return setmetatable({ seen = {}, files = {}, count = 0, hints = 0 }, notes)
end

--- The position of a mistake as text.
function notes.place(m) return ("%s:%d:%s"):format(m.file, m.line, m.path or "") end

--- mistake: { file, line, column, path, message, suggestion, hint }. Line 0 means the whole file; column, path and suggestion may be
--- nil; a hint is not a mistake.
function notes:add(mistake)
  local key = notes.place(mistake) .. ":" .. mistake.message
  local seen = self.seen[key]
  if seen then
    seen.column = seen.column or mistake.column
    return
  end
  self.seen[key] = mistake
  self.count = self.count + 1
  if mistake.hint then self.hints = self.hints + 1 end
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

--- A mistake as one line in compiler format.
function notes.line(m)
  local place = m.line == 0 and m.file or m.column and ("%s:%d:%d"):format(m.file, m.line, m.column) or ("%s:%d"):format(m.file, m.line)
  return place .. (m.hint and ": hint: " or ": ") .. (m.path and m.path .. ": " or "") .. m.message .. (m.suggestion and "; " .. m.suggestion or "")
end

return notes
