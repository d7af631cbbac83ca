--- `kt help NAME`: formats the API descriptions for a terminal.
local kt = require "kt.api"
local schema = require "kt.schema"
local sim = require "kt.sim.api"
local words = require "kt.doc.words"

local help = {}

local api -- the description in use

local WIDTH = 100
local LEFT = 28 -- column of the texts in a list of names, from 0

--- Wraps text to lines of at most WIDTH, each beginning with `indent`.
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
  local out = { f.signature, "", wrapped(f.doc, ""), "", "Callable from " .. words.context[f.context] .. ". Since " .. f.since .. "." }
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
      out[#out + 1] = "Takes " .. (f.argument.expected or words.unit(f.argument.type)) .. "."
    end
  end
  local returned = f.returns and api.records[f.returns:match "^[%l_]+"]
  if returned then
    out[#out + 1] = ""
    out[#out + 1] = ("Returns %s%s:"):format(f.returns:find("[]", 1, true) and "a list of " or "", returned.name)
    add_fields(out, returned.fields, "")
  end
  if f.fails then
    out[#out + 1] = ""
    out[#out + 1] = "On failure: nil and an err; common codes: " .. table.concat(f.fails, ", ") .. "."
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
  if h.name == "err" and #api.codes > 0 then
    out[#out + 1] = ""
    for _, code in ipairs(api.codes) do out[#out + 1] = ("  %-12s %s"):format(code.name, code.doc) end
  end
  return out
end

--- A line of a list: a name, and the first sentence about it.
local function row(name, doc)
  local text = wrapped(doc:match "^(.-)%.%f[%s\0]" or doc, (" "):rep(LEFT))
  return ("  %-" .. LEFT - 3 .. "s "):format(name) .. text:sub(LEFT + 1)
end

--- A value, and the functions in it if it is a table of them, such as kt.crypto.
local function of_value(symbol)
  local value, path = symbol.value, symbol.name .. "."
  local out = { ("%s: %s"):format(symbol.name, value.type), "", wrapped(value.doc, ""), "" }
  for _, f in ipairs(api.functions) do
    if f.name:sub(1, #path) == path then out[#out + 1] = row(f.name, f.doc) end
  end
  if not out[5] then out[4] = nil end
  return out
end

local function text_of(symbol)
  local out = symbol.fn and of_function(symbol.fn) or symbol.holder and of_holder(symbol.holder)
    or of_value(symbol)
  return table.concat(out, "\n") .. "\n"
end

-- Other names that kt help knows: err.codes of scripts, units, and keys of arguments by their full path.

local function of_code(name)
  for _, code in ipairs(kt.codes) do
    if code.name == name then
      local from = {}
      for _, f in ipairs(kt.functions) do
        for _, fails in ipairs(f.fails or {}) do
          if fails == name then from[#from + 1] = f.name end
        end
      end
      local text = ('err.code "%s"\n\n%s\n'):format(name, code.doc)
      return #from == 0 and text or text .. "\n" .. wrapped("Common in: " .. table.concat(from, ", ") .. ".", "") .. "\n"
    end
  end
end

local function of_unit(name)
  for _, unit in ipairs(kt.units) do
    if unit == name then return ("%s\n\n%s\n"):format(name, wrapped("Written as " .. words.unit(name) .. ".", "")) end
  end
end

local function of_key(name)
  for _, f in ipairs(kt.functions) do
    local below = f.argument and name:sub(1, #f.name + 1) == f.name .. "." and name:sub(#f.name + 2)
    local text
    words.keys(below and f.argument or {}, function(path, key)
      if path ~= below then return end
      local default = words.default(key)
      text = ("%s: %s%s\n\n%s\n"):format(name, words.kind(key), default and "; " .. default or "", wrapped(key.doc, ""))
    end)
    if text then return text end
  end
end

--- The text for a name in the description `which`, with or without its root; nil if it has none.
local function find(which, name)
  api = which
  for _, full in ipairs { name, which.root .. "." .. name } do
    for _, symbol in ipairs(which.symbols()) do
      if symbol.name == full then return text_of(symbol) end
    end
  end
end

--- Where the guide explains a word that is not a name of the API.
local topics = {
  require = "Modules of a script: docs/scripts.md, under Modules.",
  counters = "Counters: kt help stats has those of a link; docs/monitoring.md has those of the process.",
}

local function of_topic(name)
  if name == "handles" or name == "handle" then return wrapped(kt.about_handles:gsub("%[(.-)%]%(.-%)", "%1"), "") .. "\n" end
  if name == "address" or name == "addresses" then
    local out = { "Addresses:", "" }
    for _, a in ipairs(kt.addresses) do
      out[#out + 1] = "  " .. table.concat(a.forms, ", ")
      out[#out + 1] = wrapped(a.doc .. " For " .. table.concat(a.keys, ", ") .. ".", "      ")
    end
    return table.concat(out, "\n") .. "\n"
  end
  return topics[name] and topics[name] .. "\n"
end

--- The keys, methods and fields of this name, by what has them: "tap: a key of kt.splice (kt help kt.splice.tap)".
local function of_part(name)
  local out = {}
  local function add(kind, of, full) out[#out + 1] = ("%s: a %s of %s (kt help %s)\n"):format(name, kind, of, full) end
  for _, f in ipairs(kt.functions) do
    local of, last = f.name:match "^(.*)[:.]([%w_]+)$"
    if last == name then add(f.name:find(":", 1, true) and "method" or "function", of, f.name) end
    words.keys(f.argument or {}, function(path, key)
      if key.name == name then add("key", f.name, f.name .. "." .. path) end
    end)
  end
  for _, list in ipairs { kt.handles, kt.records } do
    for _, h in ipairs(list) do
      for _, field in ipairs(h.fields) do
        if field.name == name then add("field", h.name, h.name .. "." .. name) end
      end
    end
  end
  return #out > 0 and table.concat(out) or nil
end

local NAMED_MAX = 12

--- The functions whose descriptions have the word.
local function of_word(name)
  if not name:find "^%a%a%a%a+$" then return nil end
  local out = {}
  for _, f in ipairs(kt.functions) do
    local found = f.doc:find("%f[%a]" .. name)
    words.keys(f.argument or {}, function(_, key) found = found or key.doc:find("%f[%a]" .. name) end)
    if found and #out < NAMED_MAX then out[#out + 1] = row(f.name, f.doc) end
  end
  return #out > 0 and ("Described with %s:\n\n%s\n"):format(name, table.concat(out, "\n")) or nil
end

--- The closest known name to an unknown one, or nil.
local function meant(name)
  local names, short = {}, {}
  for _, which in ipairs { kt, sim } do
    for _, symbol in ipairs(which.symbols()) do
      names[#names + 1], short[#short + 1] = symbol.name, symbol.name:match "[%w_]+$"
    end
  end
  for _, full in ipairs(names) do
    if #name > 3 and full:sub(1, #name) == name then return full end
  end
  local near = schema.suggest(name, names)
  if near then return near end
  near = schema.suggest(name:match "[^.:]*$", short)
  for i, s in ipairs(short) do
    if s == near then return names[i] end
  end
end

--- The text for a name: "kt.link", "link:open", "link", "conn.peer", "sim.world", "kt.link.kcp.mtu", "timeout", "duration". For an
--- unknown name: nil, and the closest known one if any. A name that both scripts and specs have gets the text of both.
function help.of(name)
  if name == "kt.sim" then return help.list_sim() end
  local plain = name:gsub("^kt%.sim%.", "sim."):gsub("^w:", "world:")
  local script = plain == name and find(kt, name)
  local spec = find(sim, plain)
  local unit = script and of_unit(name) -- "duration" is kt.duration too
  if unit then script = unit .. "\n" .. script end
  if name == "address" or name == "kt.address" then script = script .. "\n" .. of_topic "address" end
  if script and spec then return script .. "\nIn specs (kt.sim):\n\n" .. spec end
  local text = script or spec or of_code(name) or of_unit(name) or of_key(name) or of_key("kt." .. name)
  if text then return text end
  local topic, part = of_topic(name), of_part(name)
  if topic or part then return (topic or "") .. (topic and part and "\n" or "") .. (part or "") end
  local near = meant(name)
  if near then return nil, near end
  return of_word(name)
end

local function add_list(out, which)
  api = which
  local function line(name, doc) out[#out + 1] = row(name, doc) end
  for _, f in ipairs(api.functions) do
    if api.is_free(f) then line(f.name, f.doc) end
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
end

--- All functions, handles and records of scripts, one line each.
function help.list()
  local out = { "In scripts:", "" }
  add_list(out, kt)
  out[#out + 1] = "\nDetails: kt help NAME, such as kt help kt.link, kt help link:open, kt help err.\nFor specs: kt help kt.sim."
  return table.concat(out, "\n") .. "\n"
end

--- The same for specs.
function help.list_sim()
  local out = { 'In specs, with local sim = require "kt.sim":', "" }
  add_list(out, sim)
  out[#out + 1] = "\nDetails: kt help NAME, such as kt help sim.world, kt help world:link, kt help app."
  return table.concat(out, "\n") .. "\n"
end

return help
