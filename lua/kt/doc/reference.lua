--- Makes docs/reference.md.
local api = require "kt.api"
local words = require "kt.doc.words"

local reference = {}

local function cell(text) return (text:gsub("%s*\n%s*", " "):gsub("|", "\\|")) end

local function row(...)
  local cells = { ... }
  for i, c in ipairs(cells) do cells[i] = cell(c) end
  return "| " .. table.concat(cells, " | ") .. " |"
end

local function add_table(out, heads, rows)
  if #rows == 0 then return end
  out[#out + 1] = ""
  out[#out + 1] = row(table.unpack(heads))
  out[#out + 1] = "|" .. (" --- |"):rep(#heads)
  table.move(rows, 1, #rows, #out + 1, out)
end

local function anchor(name) return (name:lower():gsub("[^%w_ -]", "")) end

local function add_fields(out, fields, head)
  local rows = {}
  for i, field in ipairs(fields) do rows[i] = row("`" .. field.name .. "`", field.type, field.doc) end
  add_table(out, { head, "type", "" }, rows)
end

local function add_function(out, f, level)
  out[#out + 1] = ("\n%s %s\n"):format(level, f.name)
  out[#out + 1] = "    " .. f.signature .. "\n"
  out[#out + 1] = f.doc .. "\n"
  out[#out + 1] = ("Where: %s. Since %s."):format(words.context[f.context], f.since)
  local rows = {}
  for i, p in ipairs(f.params or {}) do rows[i] = row("`" .. p.name .. "`", p.type .. (p.optional and ", optional" or ""), p.doc) end
  add_table(out, { "parameter", "type", "" }, rows)
  if f.argument then
    rows = {}
    words.keys(f.argument, function(path, key)
      rows[#rows + 1] = row("`" .. path .. "`", words.kind(key), words.default(key) or "", key.doc)
    end)
    if not f.argument.keys then
      out[#out + 1] = "\nTakes " .. (f.argument.wanted or words.unit(f.argument.type)) .. "."
    end
    add_table(out, { "key", "value", "", "" }, rows)
  end
  local returned = f.returns and api.records[f.returns:match "^%l+"]
  if returned then
    local many = f.returns:find("[]", 1, true)
    out[#out + 1] = ("\nReturns %s [%s](#%s)."):format(many and "a list; each is a" or "a", returned.name, anchor(returned.name))
  end
  if f.fails then
    out[#out + 1] = "\nWhen it fails: `nil` and an [err](#err), whose code is mostly one of `" .. table.concat(f.fails, "`, `") .. "`."
  end
  if f.example then out[#out + 1] = "\n```lua\n" .. f.example .. "\n```" end
end

local head = [[
# The reference

Made by `scripts/generate` from [lua/kt/api.lua](../lua/kt/api.lua) and its parts, the one description of the API; changes go there. `kt help NAME` shows
the same in the terminal.

A script begins with `local kt = require "kt"`. Its **main chunk** declares; what it declares is opened when it has returned. A **task** is a
coroutine that may wait. Every function says where it may be called.

Functions take one table where they take more than the obvious; an unknown key is an error. Misuse raises. What fails as expected returns
`nil` and an [err](#err).

| unit | is written |
| --- | --- |]]

--- The text of docs/reference.md.
function reference.text()
  local out = { head }
  for _, unit in ipairs { "duration", "size", "rate", "share" } do out[#out + 1] = row(unit, (words.unit(unit):gsub("^an? %l+ such as ", ""))) end
  out[#out + 1] = "\n## Functions"
  for _, f in ipairs(api.functions) do
    if f.name:find "^kt%." then add_function(out, f, "###") end
  end
  out[#out + 1] = "\n## Values"
  local rows = {}
  for i, v in ipairs(api.values) do rows[i] = row("`" .. v.name .. "`", v.type, v.doc) end
  add_table(out, { "value", "type", "" }, rows)
  out[#out + 1] = "\n## Handles\n\nWhat has a `:close()` is also closed at the end of a `local x <close>`, and, with a word in the log, when it is forgotten."
  for _, h in ipairs(api.handles) do
    out[#out + 1] = ("\n### %s\n\n%s"):format(h.name, h.doc)
    add_fields(out, h.fields, "field")
    if h.name == "err" then
      rows = {}
      for i, code in ipairs(api.codes) do rows[i] = row("`" .. code.name .. "`", code.doc) end
      add_table(out, { "code", "" }, rows)
    end
    for _, m in ipairs(h.methods) do add_function(out, m, "####") end
  end
  out[#out + 1] = "\n## Records\n\nPlain tables that calls return."
  for _, r in ipairs(api.records) do
    out[#out + 1] = ("\n### %s\n\n%s"):format(r.name, r.doc)
    add_fields(out, r.fields, "field")
  end
  return table.concat(out, "\n") .. "\n"
end

return reference
