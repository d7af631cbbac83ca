--- Checks what functions that the API calls return: a route of kt.http.serve, a policy of a pool.
local callbacks = require "kt.check.callbacks"
local constants = require "kt.check.constants"
local non_constants = require "kt.check.non_constants"
local schema = require "kt.schema"
local types = require "kt.check.types"

local returned = {}

local function accepts(words, name)
  return words[name] or name == "number" and words.integer or name == "integer" and words.number or false
end

--- Whether a value of this alternative of a type fits none of the words.
local function misfits(one, words)
  if one.is == "handle" or one.is == "plain" then return not accepts(words, one.name) end
  if one.is == "function" or one.is == "api" or one.is == "method" then return not words["function"] end
  return not words.table
end

--- How messages name what is expected.
local function shown(words)
  local out = {}
  for _, word in ipairs(words) do out[#out + 1] = word ~= "nil" and types.article(word) or nil end
  return types.either(out)
end

-- The state of a check: { inferred, given = from callbacks.of, note }.

--- Checks a table that is returned where `reply` describes it.
local function check_reply(check, node)
  local reply, name = check.given.reply, check.given.name
  local one = types.only(check.inferred:type(node))
  local function complain(at, message, suggestion)
    check.note { file = node.file, token = node.file.tokens[at], path = name, message = message, suggestion = suggestion }
  end
  local function complain_of(at, m)
    complain(at, ("the function returns a table with %s: %s"):format(schema.below(name, m.path), m.message), m.suggestion)
  end
  if one and (one.is == "record" or one.is == "list") then
    complain(node.at, ("the function returns %s"):format(types.show(one)), "write return { json = … }")
  elseif node.tag == "table" then
    local _, mistakes = schema.check(name, reply, constants.value(check.inferred, node))
    for _, m in ipairs(mistakes or {}) do complain_of(node.at, m) end
    non_constants.check(check.inferred, reply, node, name, function(m) complain_of(m.at, m) end)
  end
end

--- Checks the nth value of a return statement, which is the value number `of` of an expression.
local function check_value(check, node, of, words)
  local type = check.inferred:value(node, of)
  if not type or #type == 0 then return end
  for _, one in ipairs(type) do
    if not misfits(one, words) then return check.given.reply and of == 1 and words.table and check_reply(check, node) end
  end
  check.note {
    file = node.file, token = node.file.tokens[node.at], path = check.given.name,
    message = ("%s returns %s"):format(check.given.what or "the function", types.show(type[1])), suggestion = "expected " .. shown(words),
  }
end

local function check_function(check, fn)
  local list = types.returned(check.given.call)
  if not list then return end
  if #fn.results == 0 and not list[1]["nil"] then
    return check.note {
      file = fn.file, token = fn.file.tokens[fn.at], path = check.given.name, message = (check.given.what or "the function") .. " returns nothing",
      suggestion = "expected " .. shown(list[1]),
    }
  end
  for _, values in ipairs(fn.results) do
    for nth, words in ipairs(list) do
      local n = math.min(nth, #values)
      if n > 0 and (nth == n or values[n].tag == "call") then check_value(check, values[n], nth - n + 1, words) end
    end
  end
end

--- Checks the functions that a file gives to the API. Calls note{ file, token, path, message, suggestion } for each mistake.
function returned.check(inferred, file, note)
  for _, node in ipairs(file.nodes) do
    if (node.up or node.target) and (node.tag == "function" or node.tag == "name" or node.tag == "index") then
      local given = callbacks.of(inferred, node)
      local one = given and given.call and types.only(inferred:type(node))
      if one and one.is == "function" then check_function({ inferred = inferred, given = given, note = note }, one.node) end
    end
  end
end

return returned
