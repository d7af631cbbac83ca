--- Finds globals that tasks would share by mistake: names assigned inside a function that are neither local there nor declared as
--- globals by a main chunk. At run time such an assignment is an error in a task.
---
--- The walk keeps a stack of scopes. Where it is not exact, it takes a name for a local one: there are no false positives.
local literals = require "kt.check.literals"

local shared = {}

local text = literals.text

-- The state of a walk: { tokens, scopes = innermost last: { [name] = true, is = "block" | "function" | "bracket" },
-- loops = variables of the loops whose `do` is to come, by the number of scopes, depth = functions around, declared, found }.

local function push(walk, is, names)
  local scope = names or {}
  scope[walk] = is -- no name collides with this key
  walk.scopes[#walk.scopes + 1] = scope
  if is == "function" then walk.depth = walk.depth + 1 end
end

local function pop(walk)
  if #walk.scopes == 1 then return end
  if table.remove(walk.scopes)[walk] == "function" then walk.depth = walk.depth - 1 end
end

local function in_bracket(walk) return walk.scopes[#walk.scopes][walk] == "bracket" end

local function is_local(walk, name)
  for _, scope in ipairs(walk.scopes) do
    if scope[name] or scope._ENV then return true end
  end
  return false
end

--- Adds the names of a list, "a <const>, b", that begins at i; returns the position after it.
local function add_names(tokens, i, scope)
  while tokens[i] and tokens[i].kind == "name" do
    scope[tokens[i].text] = true
    i = text(tokens, i + 1) == "<" and i + 4 or i + 1
    if text(tokens, i) ~= "," then return i end
    i = i + 1
  end
  return i
end

local function assigned(walk, i)
  local name = walk.tokens[i].text
  if is_local(walk, name) then return end
  if walk.depth == 0 then
    walk.declared[name] = true
  else
    walk.found[#walk.found + 1] = { line = walk.tokens[i].line, name = name }
  end
end

--- Whether the name at i is a target of an assignment: "a =", "a, t.x, b =", but not "a.x =".
local function is_target(tokens, i)
  i = i + 1
  while text(tokens, i) == "," and tokens[i + 1] and tokens[i + 1].kind == "name" do
    i = i + 2
    while text(tokens, i) == "." or text(tokens, i) == "[" do
      i = text(tokens, i) == "." and i + 2 or literals.past(tokens, i)
    end
  end
  return text(tokens, i) == "="
end

--- At `function`: declares or assigns its name, and opens its scope. Returns the position of the ")" of its parameters.
local function open_function(walk, i)
  local tokens, names = walk.tokens, { self = true }
  local after = text(tokens, i + 2)
  if tokens[i + 1].kind == "name" then
    if text(tokens, i - 1) == "local" then
      walk.scopes[#walk.scopes][tokens[i + 1].text] = true
    elseif after == "(" then
      assigned(walk, i + 1)
    end
  end
  while text(tokens, i) ~= "(" do i = i + 1 end
  i = add_names(tokens, i + 1, names)
  push(walk, "function", names)
  return text(tokens, i) == "..." and i + 1 or i
end

local brackets = { ["{"] = true, ["("] = true, ["["] = true }
local ends = { ["}"] = true, [")"] = true, ["]"] = true, ["end"] = true, ["elseif"] = true }
local opens = { ["then"] = true, ["repeat"] = true }

--- Handles the keyword or operator at i; returns the position of the last token that it has read.
local function step(walk, i, t)
  local tokens, scopes = walk.tokens, walk.scopes
  if t == "function" then return open_function(walk, i) end
  if t == "local" and text(tokens, i + 1) ~= "function" then return add_names(tokens, i + 1, scopes[#scopes]) - 1 end
  if t == "for" then
    local names = {}
    local last = add_names(tokens, i + 1, names) - 1
    walk.loops[#scopes] = names
    return last
  elseif t == "do" then
    local names = walk.loops[#scopes]
    walk.loops[#scopes] = nil
    push(walk, "block", names)
  elseif brackets[t] then
    push(walk, "bracket")
  elseif ends[t] then
    pop(walk)
  elseif opens[t] then
    push(walk, "block")
  elseif t == "else" then
    pop(walk)
    push(walk, "block")
  elseif t == "until" then -- its condition sees the names of the block, which are kept for longer than that
    local block = scopes[#scopes]
    pop(walk)
    for name in next, block do
      if name ~= walk then scopes[#scopes][name] = true end
    end
  end
  return i
end

--- Walks a file. declared: a set, to which the globals that its main chunk assigns are added. Returns what functions assign:
--- { { line, name } … }.
function shared.find(tokens, declared)
  local walk = { tokens = tokens, scopes = {}, loops = {}, depth = 0, declared = declared, found = {} }
  push(walk, "block")
  local i = 1
  while tokens[i] do
    local token, before = tokens[i], text(tokens, i - 1)
    if token.kind == "name" then
      if before ~= "." and before ~= ":" and before ~= "goto" and not in_bracket(walk) and is_target(tokens, i) then assigned(walk, i) end
    elseif token.kind ~= "string" then
      i = step(walk, i, token.text)
    end
    i = i + 1
  end
  return walk.found
end

--- The sentence about a name; that of globals.c.
function shared.text(name)
  return ("global '%s' is shared by all connections; write: local %s"):format(name, name)
end

return shared
