--- Generates docs/reference.md and docs/reference-sim.md.
local words = require "kt.doc.words"

local reference = {}

local api -- the description in use

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
  out[#out + 1] = ("Callable from %s. Since %s."):format(words.context[f.context], f.since)
  local rows = {}
  for i, p in ipairs(f.params or {}) do rows[i] = row("`" .. p.name .. "`", p.type .. (p.optional and ", optional" or ""), p.doc) end
  add_table(out, { "parameter", "type", "" }, rows)
  if f.argument then
    rows = {}
    words.keys(f.argument, function(path, key)
      rows[#rows + 1] = row("`" .. path .. "`", words.kind(key), words.default(key) or "", key.doc)
    end)
    if not f.argument.keys then
      out[#out + 1] = "\nTakes " .. (f.argument.expected or words.unit(f.argument.type)) .. "."
    end
    add_table(out, { "key", "value", "", "" }, rows)
  end
  local returned = f.returns and api.records[f.returns:match "^[%l_]+"]
  if returned then
    local many = f.returns:find("[]", 1, true)
    out[#out + 1] = ("\nReturns %s[%s](#%s)."):format(many and "a list of " or "", returned.name, anchor(returned.name))
  end
  if f.fails then
    out[#out + 1] = "\nOn failure: `nil` and an [err](#err); common codes: `" .. table.concat(f.fails, "`, `") .. "`."
  end
  if f.example then out[#out + 1] = "\n```lua\n" .. f.example .. "\n```" end
end

--- The text of docs/reference.md (kt.api), or docs/reference-sim.md (kt.sim.api).
function reference.text(which)
  api = which
  local out = { api.head .. "\n| unit | examples |\n| --- | --- |" }
  for _, unit in ipairs(api.units_used or api.units) do
    out[#out + 1] = row(unit, (words.unit(unit):gsub("^an? %l+ such as ", "")))
  end
  if api.addresses then
    out[#out + 1] = "\n## Addresses\n\nA list of them is possible only for `remote` of kt.link. Malformed ones raise, or give an err with the code "
      .. "\"config\" where a task connects. kt.address splits each of them."
    local rows = {}
    for i, a in ipairs(api.addresses) do
      local keys = {}
      for j, key in ipairs(a.keys) do keys[j] = key:gsub("^(.+)%.(%w+)$", "`%2` of kt.%1") end
      rows[i] = row('`"' .. table.concat(a.forms, '"`, `"') .. '"`', table.concat(keys, ", "), a.doc)
    end
    add_table(out, { "form", "taken by", "" }, rows)
  end
  out[#out + 1] = "\n## Functions"
  for _, f in ipairs(api.functions) do
    if api.is_free(f) then add_function(out, f, "###") end
  end
  out[#out + 1] = "\n## Values"
  local rows = {}
  for i, v in ipairs(api.values) do rows[i] = row("`" .. v.name .. "`", v.type, v.doc) end
  add_table(out, { "value", "type", "" }, rows)
  out[#out + 1] = "\n## Handles\n\n" .. api.about_handles
  for _, h in ipairs(api.handles) do
    out[#out + 1] = ("\n### %s\n\n%s"):format(h.name, h.doc)
    add_fields(out, h.fields, "field")
    if h.name == "err" and #api.codes > 0 then
      rows = {}
      for i, code in ipairs(api.codes) do rows[i] = row("`" .. code.name .. "`", code.doc) end
      add_table(out, { "code", "" }, rows)
    end
    for _, m in ipairs(h.methods) do add_function(out, m, "####") end
  end
  out[#out + 1] = "\n## Records\n\nPlain tables that calls return."
  if api.counters then
    out[#out] = out[#out] .. " A counter never decreases: it begins at 0 with the link, conn, stream, flow or socket that it belongs to. "
      .. "Only those whose names begin with `session_` start again, with a new session."
  end
  for _, r in ipairs(api.records) do
    out[#out + 1] = ("\n### %s\n\n%s"):format(r.name, r.doc)
    add_fields(out, r.fields, "field")
  end
  if api.counters then
    out[#out + 1] = "\n## Counters\n\nOf a process and all its links: `kt run`, `kt client` and `kt server` write them to the log on SIGUSR1, "
      .. "`--snmplog` appends them to a CSV file, and in a spec they are `script:stats().counters`. They begin with the process, and a reload "
      .. "keeps them. A counter never decreases; a gauge is a value of now."
    rows = {}
    for i, c in ipairs(api.counters) do rows[i] = row("`" .. c.name .. "`", c.kind, c.unit == "bytes" and "bytes" or "", c.doc) end
    add_table(out, { "name", "kind", "unit", "" }, rows)
  end
  return table.concat(out, "\n") .. "\n"
end

return reference
