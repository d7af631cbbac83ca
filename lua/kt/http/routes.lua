--- The routes of kt.http.serve: "METHOD /path" → handler. A path has segments of text, ":name" for any one segment, and "*" at its end for
--- the rest. "METHOD *" is for any target, also for those that are not paths (CONNECT).
local schema = require "kt.schema"
local units = require "kt.units"

local routes = {}
routes.__index = routes

local keys = { "handler", "stream", "max_body", "ignore_gone" }
local is_key = {}
for _, name in ipairs(keys) do is_key[name] = true end

--- A route's value → { handler, stream, max_body, ignore_gone }, or nil and a message.
local function read_value(value)
  if type(value) == "function" or schema.unknown(value) then return { handler = value } end -- unknown only in `kt check`
  if type(value) ~= "table" or schema.kind(value) then return nil, schema.unfit("a function, or { handler = function }", value) end
  local names = {}
  for key in next, value do names[#names + 1] = tostring(key) end
  table.sort(names)
  for _, name in ipairs(names) do
    if not is_key[name] then return nil, ("unknown key %s; %s"):format(name, schema.one_of(keys)) end
  end
  for _, inner in next, value do
    if schema.unknown(inner) then return { handler = inner } end
  end
  if type(value.handler) ~= "function" then return nil, "handler: " .. schema.unfit("a function", value.handler) end
  for _, name in ipairs { "stream", "ignore_gone" } do
    local given = value[name]
    if given ~= nil and type(given) ~= "boolean" then return nil, name .. ": " .. schema.unfit("true or false", given) end
  end
  local max = value.max_body
  if max ~= nil then
    local expected
    max, expected = units.size(max)
    if not max then return nil, "max_body: " .. schema.unfit(expected, value.max_body) end
  end
  return { handler = value.handler, stream = value.stream or false, max_body = max, ignore_gone = value.ignore_gone or false }
end

-- Methods that libhttp-parser knows; others never get here.
local known = {}
for name in ([[ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS PATCH POST
  PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE *]]):gmatch "%S+" do known[name] = true end

--- "/users/:id/*" → { "users", { param = "id" }, { rest = true } }, or nil and a message.
local function read_pattern(text)
  local out = {}
  if text == "*" then return { { rest = true } } end
  if text:sub(1, 1) ~= "/" or text:find "[%?#%s%c]" then return nil, 'expected a path such as "/metrics", without a query' end
  for segment in text:gmatch "/([^/]*)" do
    if #out > 0 and out[#out].rest then return nil, '"*" is for the end of a path' end
    if segment == "." or segment == ".." then return nil, ('a path with a segment "%s" is never served'):format(segment) end
    if segment:find "%%%x%x" then return nil, ("write %s decoded, as paths are compared"):format(segment) end
    local param = segment:match "^:([%a_][%w_]*)$"
    if segment:sub(1, 1) == ":" and not param then return nil, ("malformed parameter %s"):format(segment) end
    out[#out + 1] = param and { param = param } or segment == "*" and { rest = true } or segment
  end
  return out
end

--- More specific patterns first: at the first difference, text before a parameter before "*".
local function order(a, b)
  local function rank(s) return s == nil and 1 or type(s) == "string" and 0 or s.param and 2 or 3 end
  for i = 1, math.max(#a.segments, #b.segments) do
    local x, y = rank(a.segments[i]), rank(b.segments[i])
    if x ~= y then return x < y end
  end
  return a.text < b.text
end

--- Reads the table that a script gives; nil and a message if it is wrong.
function routes.read(value)
  if type(value) ~= "table" or schema.kind(value) then return nil, schema.unfit('a table of functions by "METHOD /path"', value) end
  local texts, self, nodes, same = {}, setmetatable({ exact = {}, patterns = {} }, routes), {}, {}
  for text in next, value do
    if type(text) ~= "string" then return nil, schema.unfit('names such as "GET /metrics"', text) end
    texts[#texts + 1] = text
  end
  table.sort(texts)
  for _, text in ipairs(texts) do
    local method, path = text:match "^(%u[%u%-]*) (%S+)$"
    if not method then method, path = text:match "^(%*) (%S+)$" end
    if not method then return nil, ('["%s"]: expected a method and a path, such as "GET /metrics"'):format(text) end
    if not known[method] then return nil, ('["%s"]: no such method in HTTP'):format(text) end
    local shape = method .. " " .. path:gsub("/:[^/]*", "/:")
    if same[shape] then return nil, ('["%s"]: takes the same requests as ["%s"]'):format(text, same[shape]) end
    same[shape] = text
    local segments, wrong = read_pattern(path)
    local route
    if segments then route, wrong = read_value(value[text]) end
    if not route then return nil, ('["%s"]: %s'):format(text, wrong) end
    local node = nodes[path] or { text = path, segments = segments, methods = {}, any = path == "*" }
    nodes[path], node.methods[method] = node, route
  end
  for path, node in next, nodes do
    local fixed = not node.any
    for _, segment in ipairs(node.segments) do fixed = fixed and type(segment) == "string" end
    if fixed then self.exact[path] = node else self.patterns[#self.patterns + 1] = node end
  end
  table.sort(self.patterns, order)
  return self
end

--- The parameters of a path that fits a pattern; nil if it does not.
local function params_of(node, segments)
  local out = {}
  for i, want in ipairs(node.segments) do
    local got = segments[i]
    if want.rest then
      if not got then return nil end
      out["*"] = table.concat(segments, "/", i)
      return out
    end
    if not got or type(want) == "string" and want ~= got or type(want) == "table" and got == "" then return nil end
    if type(want) == "table" then out[want.param] = got end
  end
  return #segments == #node.segments and out or nil
end

--- The route for a request and its parameters; nil and the allowed methods, sorted, if the path has other ones; nil if there is none.
--- path: nil if the target is not a path. slash: a segment has one, so `path` does not say where they end.
--- CONNECT is never among the allowed ones: its target is a host, so no path has it.
function routes:find(method, path, segments, slash)
  local allowed
  local function try(node)
    local methods = node.methods
    local route = methods[method] or method == "HEAD" and methods.GET or methods["*"]
    if route then return route end
    for name in next, methods do
      if name ~= "CONNECT" then
        allowed = allowed or {}
        allowed[name] = true
        if name == "GET" then allowed.HEAD = true end
      end
    end
  end
  local exact = path and not slash and self.exact[path]
  if exact then
    local route = try(exact)
    if route then return route, {} end
  end
  for _, node in ipairs(self.patterns) do
    local params = node.any and { ["*"] = path } or path and params_of(node, segments)
    if params and (path or node.any) then
      local route = try(node)
      if route then return route, params end
    end
  end
  if not allowed then return nil end
  local names = {}
  for name in next, allowed do names[#names + 1] = name end
  table.sort(names)
  return nil, names
end

return routes
