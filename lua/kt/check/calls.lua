--- Looks at the calls of the API that are written in a script, those in tasks too, which a check does not run: is there such
--- a function, and does the table that is written out there pass? What must be computed is taken to be right.
local api = require "kt.api"
local literals = require "kt.check.literals"
local schema = require "kt.schema"
local standin = require "kt.check.standin"

local calls = {}

local text = literals.text

--- The name that `require "kt"` is given: mostly "kt".
local function name_of_kt(tokens)
  for i in ipairs(tokens) do
    if text(tokens, i) == "require" and text(tokens, i - 1) == "=" then
      local first = literals.argument(tokens, i + 1, 1)
      if first and tokens[first].value == "kt" and tokens[i - 2].kind == "name" then return tokens[i - 2].text end
    end
  end
end

--- The function that the name at i begins: "kt.link", where its last part is; or a name that has none.
local function function_at(tokens, i)
  local name, last = "kt", i
  while text(tokens, last + 1) == "." and tokens[last + 2].kind == "name" do
    name, last = name .. "." .. tokens[last + 2].text, last + 2
    if api.functions[name] then break end
    local holds
    for _, f in ipairs(api.functions) do holds = holds or f.name:sub(1, #name + 1) == name .. "." end
    if not holds then break end
  end
  return name, last
end

--- What each name of the script holds: a kind of handle, if every place that sets it agrees on that; else false.
local function kinds_of_names(tokens, kt)
  local kinds = {}
  local function bind(i, kind)
    local name = tokens[i].text
    if kinds[name] == nil then kinds[name] = kind or false
    elseif kinds[name] ~= kind then kinds[name] = false end
  end
  local function serve(i, kind) -- `:serve(function(NAME`, from the colon on
    if text(tokens, i) == ":" and text(tokens, i + 1) == "serve" and text(tokens, i + 2) == "("
      and text(tokens, i + 3) == "function" and text(tokens, i + 4) == "(" and tokens[i + 5].kind == "name" then
      return i + 5, ({ listener = "conn", acceptor = "stream", link = "stream" })[kind]
    end
  end
  local known = {} -- positions that were bound by what is known of them
  for i, token in ipairs(tokens) do
    if token.kind == "name" and token.text == kt and text(tokens, i - 1) ~= "." and text(tokens, i - 1) ~= ":" then
      local name, last = function_at(tokens, i)
      local kind = standin.kind_of(api.functions[name])
      local first, past = literals.argument(tokens, last + 1, 1)
      if first and text(tokens, last + 1) == "(" then past = literals.past(tokens, last + 1) end
      local param, of = serve(past or 0, kind)
      if param then known[param] = of end
      local set = i - 1
      if text(tokens, set) == "=" then
        set = set - 1
        while text(tokens, set - 1) == "," do set = set - 2 end
        if tokens[set] and tokens[set].kind == "name" and text(tokens, set - 1) == "local" then known[set] = kind end
      end
    end
  end
  for i, token in ipairs(tokens) do
    if token.kind == "name" then
      local before, after = text(tokens, i - 1), text(tokens, i + 1)
      if known[i] then bind(i, known[i])
      elseif after == "=" or before == "local" then bind(i, false) end
    elseif text(tokens, i) == "function" then
      local open = i + 1
      while tokens[open] and text(tokens, open) ~= "(" do open = open + 1 end
      for at = open + 1, literals.past(tokens, open) - 2 do
        if tokens[at].kind == "name" and not known[at] then bind(at, false) end
      end
    end
  end
  return kinds
end

--- Checks the argument of a call, whose arguments begin at i, as far as it is written out.
local function check_argument(tokens, i, f, note)
  if not f.argument then return end
  local params = f.params or {}
  local n = #params + 1
  local first, last = literals.argument(tokens, i, n)
  while not first and n > 1 and params[n - 1].optional do -- it may stand in the place of what was left out
    n = n - 1
    first, last = literals.argument(tokens, i, n)
    if first and text(tokens, first) ~= "{" then return end
  end
  if not first then return end
  local value = literals.value(tokens, first, last)
  if value == nil or standin.is(value) then return end
  local ok, mistakes = schema.check(f.path, f.argument, value)
  if ok ~= nil or not mistakes then return end
  for _, m in ipairs(mistakes) do
    local keys = {}
    for key in (m.path:match "^[^.]+%.(.+)$" or ""):gmatch "[^.]+" do keys[#keys + 1] = key end
    local line = text(tokens, first) == "{" and literals.line_of(tokens, first, keys) or tokens[first].line
    note { line = line, path = m.path, message = m.message, suggestion = m.suggestion }
  end
end

local function note_absent(note, line, path, name, names, what)
  local sentence = schema.absent(path, name, names, what)
  local at, message, suggestion = sentence:match "^(%S+): (.-); (.+)$"
  note { line = line, path = at, message = message, suggestion = suggestion }
end

--- The names below "kt" or "kt.log".
local function names_in(path)
  local names = {}
  for _, list in ipairs { api.functions, api.values } do
    for _, item in ipairs(list) do names[#names + 1] = item.name:match("^" .. path:gsub("%.", "%%.") .. "%.([%w_]+)$") end
  end
  table.sort(names)
  return names
end

local function check_function(tokens, i, note)
  local name, last = function_at(tokens, i)
  local f = api.functions[name]
  if f then return check_argument(tokens, last + 1, f, note) end
  if last == i then return end -- kt alone
  local path, own = name:match "^(.*)%.([^.]+)$"
  local names = names_in(path)
  for _, known in ipairs(names) do
    if known == own then return end
  end
  note_absent(note, tokens[i].line, path, own, names)
end

local function check_member(tokens, i, kind, note)
  local name, h = tokens[i + 2].text, api.handles[kind]
  local f = api.functions[kind .. ":" .. name]
  if f then return check_argument(tokens, i + 3, f, note) end
  local names = {}
  for _, m in ipairs(h.methods) do names[#names + 1] = m.name:match ":(.+)$" end
  for _, field in ipairs(h.fields) do
    names[#names + 1] = field.name
    if field.name == name then return end
  end
  table.sort(names)
  note_absent(note, tokens[i].line, kind, name, names, "field")
end

--- Calls note{ line, path, message, suggestion } for each mistake.
function calls.check(tokens, note)
  local kt = name_of_kt(tokens)
  if not kt then return end
  local kinds = kinds_of_names(tokens, kt)
  for i, token in ipairs(tokens) do
    local before = text(tokens, i - 1)
    if token.kind == "name" and before ~= "." and before ~= ":" then
      local after, member = text(tokens, i + 1), tokens[i + 2]
      if token.text == kt then
        check_function(tokens, i, note)
      elseif kinds[token.text] and (after == "." or after == ":") and member.kind == "name" then
        check_member(tokens, i, kinds[token.text], note)
      end
    end
  end
end

return calls
