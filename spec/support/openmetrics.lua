-- Reads OpenMetrics text (version 1.0.0) as strictly as the specification asks, for specs: raises for what is not allowed.
local openmetrics = {}

local suffixes = {
  counter = { _total = true }, gauge = { [""] = true }, info = { _info = true }, histogram = { _bucket = true, _count = true, _sum = true },
}

local function read_labels(text, line)
  local labels, at = {}, 1
  while at <= #text do
    local name, next_at = text:match('^([%a_][%w_]*)="()', at)
    assert(name, line)
    assert(not labels[name], "a label twice: " .. line)
    local value = {}
    while text:sub(next_at, next_at) ~= '"' do
      local c = text:sub(next_at, next_at)
      assert(c ~= "", line)
      if c == "\\" then
        next_at = next_at + 1
        c = assert(({ n = "\n", ["\\"] = "\\", ['"'] = '"' })[text:sub(next_at, next_at)], line)
      end
      value[#value + 1], next_at = c, next_at + 1
    end
    labels[name] = table.concat(value)
    assert(utf8.len(labels[name]), line)
    at = next_at + 1
    if at <= #text then
      assert(text:sub(at, at) == "," and at < #text, line)
      at = at + 1
    end
  end
  return labels
end

local function number(text, line)
  if text == "+Inf" then return math.huge end
  assert(text:find "^-?%d+%.?%d*$" or text:find "^-?%d+%.?%d*e[+-]%d+$", line)
  return tonumber(text)
end

--- A histogram's samples, which came in one piece: buckets grow, and the last one is the count.
local function check_histogram(family)
  local groups = {}
  for _, s in ipairs(family.samples) do
    local rest = {}
    for name, value in pairs(s.labels) do
      if name ~= "le" then rest[#rest + 1] = name .. "=" .. value end
    end
    table.sort(rest)
    local key = table.concat(rest, ",")
    local g = groups[key] or { bound = -math.huge, value = 0 }
    groups[key] = g
    if s.suffix == "_bucket" then
      local bound = number(s.labels.le, family.name)
      assert(bound > g.bound and s.value >= g.value, family.name .. ": buckets do not grow")
      g.bound, g.value = bound, s.value
    else
      g[s.suffix] = s.value
    end
  end
  for _, g in pairs(groups) do
    assert(g.bound == math.huge and g.value == g._count and g._sum, family.name .. ": incomplete")
  end
end

--- Returns families by name: { type, unit, help, samples = { { labels, value, suffix } } }; and value(name, label, value): that of a sample.
function openmetrics.read(text)
  local body = assert(text:match "^(.*\n)# EOF\n$", "no EOF")
  local families, now, seen = {}, nil, {}
  for line in body:gmatch "([^\n]*)\n" do
    local what, name, rest = line:match "^# (%u+) ([%a_:][%w_:]*) ?(.*)$"
    if what then
      if not now or now.name ~= name then
        assert(not families[name], "a family in two pieces: " .. line)
        now = { name = name, samples = {} }
        families[name] = now
      end
      local key = assert(({ TYPE = "type", HELP = "help", UNIT = "unit" })[what], line)
      assert(not now[key] and #now.samples == 0, line)
      now[key] = rest
      if what == "TYPE" then assert(suffixes[rest], line) end
      if what == "UNIT" then assert(name:sub(-#rest - 1) == "_" .. rest, line) end
    else
      local full, labels, value = line:match "^([%a_:][%w_:]*){(.*)} (%S+)$"
      if not full then full, labels, value = line:match "^([%a_:][%w_:]*)() (%S+)$" end
      assert(full and now, line)
      local suffix = full:sub(#now.name + 1)
      assert(full:sub(1, #now.name) == now.name and suffixes[now.type][suffix], line)
      labels = labels ~= "" and type(labels) == "string" and read_labels(labels, line) or {}
      local id = line:match "^(.*) %S+$"
      assert(not seen[id], "a sample twice: " .. line)
      seen[id] = true
      local n = number(value, line)
      if now.type ~= "gauge" then assert(n >= 0, line) end
      now.samples[#now.samples + 1] = { labels = labels, value = n, suffix = suffix }
    end
  end
  for _, family in pairs(families) do
    assert(family.type and family.help and #family.samples > 0, family.name)
    if family.type == "histogram" then check_histogram(family) end
  end
  return families, function(name, wanted, suffix)
    for _, s in ipairs(assert(families[name], name).samples) do
      local fits = not suffix or s.suffix == suffix
      for label, value in pairs(wanted or {}) do fits = fits and s.labels[label] == value end
      if fits then return s.value end
    end
  end
end

return openmetrics
