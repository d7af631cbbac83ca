--- Infers which variables of a script hold a link, a conn, a stream and so on, in code that `kt check` does not run.
---
--- It ignores scopes: a name has a kind only if every assignment to it in the file gives it that kind. So it never infers a wrong
--- kind.
local api = require "kt.api"
local literals = require "kt.check.literals"
local standin = require "kt.check.standin"

local kinds = {}

local text = literals.text

--- The API name that begins at i, such as "kt.link", and the position of its last part. The name may not exist.
function kinds.function_at(tokens, i)
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

--- Whether token i is a name that is not a field or a method.
local function is_name(tokens, i)
  local before = text(tokens, i - 1)
  return tokens[i] and tokens[i].kind == "name" and before ~= "." and before ~= ":"
end

--- The positions of the names in the list "a, b <const>, c" that begins at i, and the position after it.
local function name_list(tokens, i)
  local list = {}
  while tokens[i] and tokens[i].kind == "name" do
    list[#list + 1] = i
    i = i + 1
    if text(tokens, i) == "<" then i = i + 3 end
    if text(tokens, i) ~= "," then break end
    i = i + 1
  end
  return list, i
end

--- The position after the call arguments that begin at i; nil if there are none.
function kinds.past_arguments(tokens, i)
  local token = tokens[i]
  if token and token.kind == "string" then return i + 1 end
  if text(tokens, i) == "{" or text(tokens, i) == "(" then return literals.past(tokens, i) end
end

--- The kind of handle that a call of f returns whose arguments begin at i, or nil.
function kinds.of_call(tokens, i, f)
  if text(tokens, i) == "(" then i = i + 1 end
  local past = text(tokens, i) == "{" and literals.past(tokens, i) or i
  return standin.kind_of(f, function(key)
    local depth = 0
    for at = i, past - 1 do
      local t = text(tokens, at)
      depth = depth + (literals.opens[t] and 1 or literals.closes[t] and -1 or 0)
      if depth == 1 and tokens[at].kind == "name" and t == key and text(tokens, at + 1) == "=" then return true end
    end
  end)
end

--- The position and kind of the first parameter of a callback passed to a method: `listener:serve(function(NAME`.
local function parameter(tokens, i, kind, method)
  local given
  if method == "serve" then
    given = ({ listener = "conn", udplistener = "flow", acceptor = "stream", link = "stream" })[kind]
  elseif method == "on" then
    local event = tokens[i + 1] and tokens[i + 1].value
    given, i = event == "flow" and "flow" or kind == "acceptor" and "link", i + 2
  end
  if given and text(tokens, i + 1) == "function" and text(tokens, i + 2) == "(" and tokens[i + 3].kind == "name" then
    return i + 3, given
  end
end

--- Follows a chain of method calls on a value of that kind, whose expression ends before i. Returns the kind of the last result, nil
--- if it is not a handle, and the position after it. Calls bind(position, kind) for callback parameters.
local function follow(tokens, i, kind, bind)
  while kind and text(tokens, i) == ":" do
    local method = tokens[i + 1].text
    local param, given = parameter(tokens, i + 2, kind, method)
    if param then bind(param, given) end
    kind = standin.kind_of(api.functions[kind .. ":" .. method])
    i = kinds.past_arguments(tokens, i + 2)
    if not i then return end
  end
  return kind, i
end

--- Whether the expression before i is complete there.
local function ends(tokens, i)
  local token = tokens[i]
  if not token or token.kind == "name" then return true end
  local t = text(tokens, i)
  return token.kind == "keyword" and t ~= "and" and t ~= "or" or t == "," or t == ";" or t == ")" or t == "::"
end

--- The position of the name that is assigned the expression from i to past (exclusive); nil if none is.
local function set_to(tokens, i, past)
  if text(tokens, i - 1) == "(" and text(tokens, i - 2) == "assert" then
    past = text(tokens, past) == "," and literals.past(tokens, i - 1) or past + 1
    i = i - 2
  end
  if text(tokens, i - 1) ~= "=" or not ends(tokens, past) then return end
  local function name_before(at) -- "NAME" or "NAME <close>"
    return text(tokens, at - 1) == ">" and at - 4 or at - 1
  end
  local first = name_before(i - 1)
  while text(tokens, first - 1) == "," do first = name_before(first - 1) end
  if is_name(tokens, first) then return first end
end

--- For each position, whether it is in a statement. Inside a table or an argument list, "a = b" is not an assignment.
local function statements(tokens)
  local open, among = {}, {}
  for i in ipairs(tokens) do
    local t = text(tokens, i)
    if literals.closes[t] then open[#open] = nil end
    local inner = open[#open]
    among[i] = inner ~= "{" and inner ~= "(" and inner ~= "["
    if literals.opens[t] then open[#open + 1] = t end
  end
  return among
end

--- Calls bind(position, kind) for each name assigned the result of an API function, or of a method of a name in `so_far`.
local function find_known(tokens, among, kt, so_far, bind)
  for i, token in ipairs(tokens) do
    if is_name(tokens, i) then
      local kind, past
      if token.text == kt then
        local name, last = kinds.function_at(tokens, i)
        past = kinds.past_arguments(tokens, last + 1)
        kind = past and kinds.of_call(tokens, last + 1, api.functions[name])
      elseif so_far[token.text] and text(tokens, i + 1) == ":" then
        kind, past = so_far[token.text], i + 1
      end
      if kind then kind, past = follow(tokens, past, kind, bind) end
      local set = kind and set_to(tokens, i, past)
      if set and among[set] then bind(set, kind) end
    end
  end
end

--- Calls bind(position) for each assignment to a name, including parameters and loop variables.
local function find_set(tokens, among, bind)
  local function bind_all(list)
    for _, at in ipairs(list) do bind(at) end
  end
  for i, token in ipairs(tokens) do
    local t = token.kind == "keyword" and token.text
    if t == "for" then
      bind_all((name_list(tokens, i + 1)))
    elseif t == "function" then
      local open = i + 1
      if is_name(tokens, open) then bind(open) end
      while tokens[open] and text(tokens, open) ~= "(" do open = open + 1 end
      bind_all((name_list(tokens, open + 1)))
    elseif among[i] and is_name(tokens, i) then
      local list, past = name_list(tokens, i)
      local after = text(tokens, past)
      if after == "=" or #list > 1 and (after == "." or after == "[") then bind_all(list) end -- "a, b.c = …"
    end
  end
end

--- The kind of handle that each name holds, or false. kt: the variable that holds `require "kt"`.
function kinds.of_names(tokens, kt)
  local found, among = {}, statements(tokens)
  local known, count, before = {}, 0 -- position of an assigned name → the kind assigned there
  repeat
    before = count
    find_known(tokens, among, kt, found, function(at, kind)
      if not known[at] then count = count + 1 end
      known[at] = kind
    end)
    found = {}
    local function agree(at, kind)
      local name = tokens[at].text
      if found[name] == nil then found[name] = kind
      elseif found[name] ~= kind then found[name] = false end
    end
    for at, kind in next, known do agree(at, kind) end
    find_set(tokens, among, function(at) agree(at, known[at] or false) end)
  until count == before
  return found
end

return kinds
