--- The types that kt.check.infer works with, from the description of the API.
---
--- A type is a list of alternatives; nil if it is unknown, and empty if the value is always nil. That a value may also be nil is not
--- kept. An alternative is one of these, and the same table whenever it is the same:
---   { is = "handle" | "record", name, has = its description }
---   { is = "plain", name = "string" | "number" | "integer" | "boolean" | "table" | "function" | "thread" }
---   { is = "list", of = type }
---   { is = "kt", path = "kt" | "kt.log" | … }           the table itself
---   { is = "api", fn = description }                     a function of the API
---   { is = "method", fn = description, kind = "link" }   a method of a handle, not called
---   { is = "table" | "function", node }                  one that the script makes
---   { is = "declared", node, by = "kt.args" }            a table with the keys of the one given to a function of the API
local api = require "kt.api"

local types = {}

local MOST = 8 -- alternatives

local made = {} -- alternatives by key

--- The only alternative of that key.
local function alternative(key, fields)
  if not made[key] then made[key] = fields end
  return made[key]
end

function types.plain(name) return { alternative("plain " .. name, { is = "plain", name = name }) } end
function types.kt(path) return { alternative("kt " .. path, { is = "kt", path = path }) } end
function types.api(fn) return { alternative(fn, { is = "api", fn = fn }) } end
function types.method(fn, kind) return { alternative("method " .. fn.name, { is = "method", fn = fn, kind = kind }) } end
function types.declared(node, by) return { alternative(node.items, { is = "declared", node = node, by = by }) } end
function types.made(node) return { alternative(node, { is = node.tag, node = node }) } end

--- A type by the name of a handle or a record.
function types.named(name)
  local handle = api.handles[name]
  local has = handle or api.records[name]
  return has and { alternative("named " .. name, { is = handle and "handle" or "record", name = name, has = has }) }
end

--- A list of values of a type. Two lists are the same alternative if their elements are.
function types.list(of)
  if not of or #of ~= 1 then return types.plain "table" end
  return { alternative({}, { is = "list", of = of }) }
end

local lists = {}

--- A type that may be a or b.
function types.union(a, b)
  if not a or not b then return nil end
  if #a == 0 then return b end
  local out = table.move(a, 1, #a, 1, {})
  for _, one in ipairs(b) do
    local known = false
    for _, other in ipairs(out) do known = known or other == one end
    if not known then out[#out + 1] = one end
  end
  return #out <= MOST and out or nil
end

--- The only alternative of a type; nil if it has none, or several.
function types.only(t) return t and #t == 1 and t[1] or nil end

--- The only handle or record that a type may be, or nil.
function types.holder(t)
  local one = types.only(t)
  return one and (one.is == "handle" or one.is == "record") and one or nil
end

local plain = {}
for word in ("string number integer boolean table function thread"):gmatch "%a+" do plain[word] = true end

--- Splits text at a separator outside of brackets.
local function split(text, separator)
  local out, depth, from = {}, 0, 1
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == "(" or c == "{" or c == "<" then depth = depth + 1 end
    if c == ")" or c == "}" or c == ">" then depth = depth - 1 end
    if c == separator and depth == 0 then
      out[#out + 1] = text:sub(from, i - 1):match "^%s*(.-)%s*$"
      from = i + 1
    end
  end
  out[#out + 1] = text:sub(from):match "^%s*(.-)%s*$"
  return out
end

local function word_type(word)
  if word == "nil" then return {} end
  if word:find '^"' then return types.plain "string" end
  if plain[word] then return types.plain(word) end
  if word:find "^fun%(" then return types.plain "function" end
  local element = word:match "^(.*)%[%]$"
  if element then
    lists[word] = lists[word] or types.list(types.of(element))
    return lists[word]
  end
  return types.named(word)
end

--- The type that a description writes as text, "stream | nil"; nil if it says nothing.
function types.of(text)
  local out = {}
  for _, word in ipairs(split(text, "|")) do out = types.union(out, word_type(word)) end
  return out
end

local results = {}

--- The types that a function returns, by position: "stream | nil, err". After "any", nothing is known: it may be any number of values.
function types.results(f)
  if not f.returns then return {} end
  if not results[f.returns] then
    local out = {}
    for i, text in ipairs(split(f.returns, ",")) do
      out[i] = types.of(text)
      if not out[i] then break end
    end
    results[f.returns] = out
  end
  return results[f.returns]
end

--- Whether a call of the function may fail and return nil. Not for functions that make a handle in the main chunk too: there they do not fail.
function types.may_fail(f)
  return f.returns ~= nil and f.returns:find "| nil, [^,]*%f[%a]err" ~= nil and (f.context == "task" or api.handles[f.returns:match "^%l+"] == nil)
end

local handlers = {}

--- The types of the parameters of a function that is given to the API, described as "fun(conn: conn)".
function types.parameters(text)
  if not handlers[text] then
    local out = {}
    local inner = text:match "^fun(%b())"
    for i, p in ipairs(inner and #inner > 2 and split(inner:sub(2, -2), ",") or {}) do out[i] = types.of(p:match ":%s*(.*)$") or false end
    handlers[text] = out
  end
  return handlers[text]
end

local returns = {}

--- The results expected of a function that is given to the API, described as "fun(conn: conn): boolean | nil, string": for each position a
--- list of words, which is also a set. Nil if none are.
function types.returned(text)
  local list = text:match "^fun%b():%s*(.+)$"
  if not list then return nil end
  if not returns[text] then
    local out = {}
    for i, words in ipairs(split(list, ",")) do
      out[i] = {}
      for _, word in ipairs(split(words, "|")) do
        if word == "false" then word = "boolean" end
        out[i][#out[i] + 1], out[i][word] = word, true
      end
    end
    returns[text] = out
  end
  return returns[text]
end

--- "a link", "an err"
function types.article(word) return (word:find "^[aeiou]" and "an " or "a ") .. word end

--- { "a link", "a pool", "a list" } → "a link, a pool or a list". The list is not empty.
function types.either(list)
  if #list == 1 then return list[1] end
  return table.concat(list, ", ", 1, #list - 1) .. " or " .. list[#list]
end

--- "no argument", "one argument", "3 arguments"
function types.arguments(n) return n == 0 and "no argument" or n == 1 and "one argument" or n .. " arguments" end

--- How a sentence names an alternative: "a link", "a list", "a stats table".
function types.show(one)
  local name = (one.is == "list" or one.is == "table" or one.is == "function") and one.is or one.is == "declared" and "table" or one.name or "function"
  return types.article(name) .. (one.is == "record" and " table" or "")
end

return types
