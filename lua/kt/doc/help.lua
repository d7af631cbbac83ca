--- `kt help NAME`: the description of the API as text for a terminal.
local api = require "kt.api"
local schema = require "kt.schema"
local words = require "kt.doc.words"

local help = {}

local WIDTH = 100

--- Text in lines of at most WIDTH, each behind `indent`.
local function wrapped(text, indent)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if line ~= "" and #indent + #line + 1 + utf8.len(word) > WIDTH then
      lines[#lines + 1] = indent .. line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = indent .. line
  return table.concat(lines, "\n")
end

local function add_keys(out, argument)
  words.keys(argument, function(_, key, depth)
    local indent = ("  "):rep(depth + 1)
    local default = words.default(key)
    out[#out + 1] = ("%s%s: %s%s"):format(indent, key.name, words.kind(key), default and "; " .. default or "")
    out[#out + 1] = wrapped(key.doc, indent .. "    ")
  end)
end

local function add_fields(out, fields, path)
  for _, field in ipairs(fields) do
    out[#out + 1] = ("  %s%s: %s"):format(path, field.name, field.type)
    out[#out + 1] = wrapped(field.doc, "      ")
  end
end

local function of_function(f)
  local out = { f.signature, "", wrapped(f.doc, ""), "", "Where: " .. words.context[f.context] .. ". Since " .. f.since .. "." }
  for _, p in ipairs(f.params or {}) do
    if p == f.params[1] then out[#out + 1] = "" end
    out[#out + 1] = ("  %s: %s%s"):format(p.name, p.type, p.optional and ", optional" or "")
    out[#out + 1] = wrapped(p.doc, "      ")
  end
  if f.argument then
    out[#out + 1] = ""
    if f.argument.keys then
      add_keys(out, f.argument)
    else
      out[#out + 1] = "Takes " .. (f.argument.wanted or words.unit(f.argument.type)) .. "."
    end
  end
  local returned = f.returns and api.records[f.returns:match "^%l+"]
  if returned then
    out[#out + 1] = ""
    out[#out + 1] = ("Returns %s%s:"):format(f.returns:find("[]", 1, true) and "a list; each is a " or "", returned.name)
    add_fields(out, returned.fields, "")
  end
  if f.fails then
    out[#out + 1] = ""
    out[#out + 1] = "When it fails: nil and an err, whose code is mostly one of " .. table.concat(f.fails, ", ") .. "."
  end
  if f.example then
    out[#out + 1] = ""
    out[#out + 1] = "Example:"
    out[#out + 1] = "    " .. f.example:gsub("\n", "\n    ")
  end
  return out
end

local function of_holder(h)
  local out = { h.name, "", wrapped(h.doc, "") }
  if h.methods and #h.methods > 0 then
    out[#out + 1] = ""
    for _, m in ipairs(h.methods) do
      out[#out + 1] = "  " .. m.signature
      out[#out + 1] = wrapped(m.doc:match "^.-%.%f[%s\0]" or m.doc, "      ")
    end
  end
  if #h.fields > 0 then
    out[#out + 1] = ""
    add_fields(out, h.fields, h.name .. ".")
  end
  if h.name == "err" then
    out[#out + 1] = ""
    for _, code in ipairs(api.codes) do out[#out + 1] = ("  %-12s %s"):format(code.name, code.doc) end
  end
  return out
end

--- The text for a name, "kt.link", "link:open", "link", "conn.peer"; nil and the name that was meant, if it can be told.
function help.of(name)
  local names = {}
  for _, s in ipairs(api.symbols()) do
    if s.name == name then
      local out = s.fn and of_function(s.fn) or s.holder and of_holder(s.holder)
        or { ("%s: %s"):format(s.name, s.value.type), "", wrapped(s.value.doc, "") }
      return table.concat(out, "\n") .. "\n"
    end
    names[#names + 1] = s.name
  end
  for _, s in ipairs(names) do
    if s == "kt." .. name then return help.of(s) end
  end
  local short = {}
  for i, s in ipairs(names) do short[i] = s:match "[%w_]+$" end
  local near = schema.suggest(name, names)
  if near then return nil, near end
  near = schema.suggest(name:match "[^.:]*$", short)
  for i, s in ipairs(short) do
    if s == near then return nil, names[i] end
  end
end

--- All functions and handles, a line each.
function help.list()
  local out = { "In scripts:", "" }
  local function line(name, doc) out[#out + 1] = ("  %-17s %s"):format(name, doc:match "^(.-)%.%f[%s\0]" or doc) end
  for _, f in ipairs(api.functions) do
    if f.name:find "^kt%." then line(f.name, f.doc) end
  end
  for _, v in ipairs(api.values) do line(v.name, v.doc) end
  for _, h in ipairs(api.handles) do
    out[#out + 1] = ""
    line(h.name, h.doc)
    for _, m in ipairs(h.methods) do line("  " .. m.name, m.doc) end
    for _, field in ipairs(h.fields) do line("  " .. h.name .. "." .. field.name, field.doc) end
  end
  out[#out + 1] = ""
  for _, r in ipairs(api.records) do line(r.name, r.doc) end
  out[#out + 1] = "\nkt help NAME says more: kt help kt.link, kt help link:open, kt help err."
  return table.concat(out, "\n") .. "\n"
end

return help
