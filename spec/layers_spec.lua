-- The rooms of the house and what each may include (docs/architecture.md): read from the sources, and from what was built of
-- them (KT_BUILD, by default build/).

-- Each room is a folder, without the rooms inside it. `may` names the rooms whose headers it may include besides its own.
local rooms = {
  { name = "runtime", folder = "runtime", may = { "cli", "script/sim" } }, -- main.c, module.c
  { name = "base", may = {} },
  { name = "kcp", folder = "kcp", may = { "base" } },
  { name = "crypto", may = { "base" } },
  { name = "crypto/kcptun", may = { "crypto", "base" } },
  { name = "http", may = { "base" } },
  { name = "io", may = { "base" } },
  { name = "io/uv", may = { "io", "base" } },
  { name = "io/sim", may = { "io", "base" } },
  { name = "link", may = { "io", "kcp", "crypto", "base" } },
  { name = "link/common", may = { "link", "io", "kcp", "crypto", "base" } },
  { name = "link/both", may = { "link/common", "link", "io", "base" } },
  { name = "link/kcptun", may = { "link/common", "link", "io", "kcp", "crypto/kcptun", "crypto", "base" } },
  { name = "link/native", may = { "link/common", "link", "io", "kcp", "crypto", "base" } },
  { name = "script/sandbox", may = { "io", "base" } },
  { name = "script/core", may = { "script/sandbox", "link/common", "link", "io", "crypto", "base" } },
  { name = "script/api", may = { "script/core", "script/sandbox", "link/common", "link", "http", "io", "crypto", "base" } },
  { name = "script/sim",
    may = { "control", "script/core", "script/api", "script/sandbox", "link", "io/sim", "io", "crypto", "base" } },
  { name = "control", may = { "script/core", "link", "io", "crypto", "base" } },
  { name = "cli", may = { "control", "script/core", "script/api", "script/sim", "script/sandbox", "link", "io/uv", "io", "crypto", "base" } },
}

-- Headers of the system, of C and of the sanitizers. All others are of a library, which the next table must name.
local system = {
  "^assert%.", "^ctype%.", "^dirent%.", "^dlfcn%.", "^endian%.", "^errno%.", "^fcntl%.", "^inttypes%.", "^limits%.", "^malloc%.", "^math%.",
  "^netdb%.", "^poll%.", "^pthread%.", "^pwd%.", "^signal%.", "^std%a+%.", "^strings?%.", "^termios%.", "^time%.", "^unistd%.",
  "^arpa/", "^linux/", "^net/", "^netinet/", "^sanitizer/", "^sys/",
}

-- Library headers: where each may be included (patterns on the path).
local libraries = {
  ["^lua"] = { "^runtime/script/" },
  ["^lauxlib"] = { "^runtime/script/" },
  ["^uv"] = { "^runtime/io/uv/" },
  ["^ares"] = { "^runtime/io/uv/" },
  ["^sodium"] = { "^runtime/crypto/" },
  ["^gcrypt"] = { "^runtime/crypto/" },
  ["^isa%-l"] = { "^kcp/fec", "^runtime/crypto/", "^runtime/link/" },
  ["^snappy"] = { "^runtime/link/kcptun/" },
  ["^http_parser"] = { "^runtime/http/" },
  ["^cjson"] = { "^runtime/base/json", "^runtime/control/request", "^runtime/script/api/lua_json" },
}

-- Headers that define a struct whose fields only files may reach into whose paths begin so. Elsewhere it is opaque.
local inner = {
  ["script/core/parts.h"] = "runtime/script/core/",
  ["script/core/task_internal.h"] = "runtime/script/core/task", -- task.c, task_facts.c
  ["script/sandbox/box.h"] = "runtime/script/sandbox/",
}

-- The engine is pure: it may not know that there are sockets, clocks or files.
local pure = { ["kcp"] = { "assert", "errno", "inttypes", "limits", "stdalign", "stdbool", "stddef", "stdint", "stdlib", "string", "isa%-l" } }

-- Nondeterminism comes through io's seam, so that the simulator can stand in for it.
local only_in_io = {
  "clock_gettime", "gettimeofday", "time", "rand", "random", "getrandom", "randombytes_buf", "randombytes_random",
  "gcry_randomize", "gcry_create_nonce", "socket", "bind", "connect", "accept4", "sendto", "sendmsg", "sendmmsg", "recvfrom",
  "recvmsg", "recvmmsg", "getaddrinfo", "nanosleep", "usleep", "sleep", "poll", "uv_hrtime", "uv_now",
}

-- Functions that only specs and fuzz targets call from other files: they set what a spec cannot reach otherwise, or show it.
local hooks = {}
for _, name in ipairs {
  "kt_fec_enc_seek", "kt_file_append", "kt_guard_overrun_us", "kt_kcp_test_start", "kt_native_number", "kt_native_recovery_reorder", "kt_qpp_pad",
  "kt_secretstream_seal_tagged", "kt_setting_get", "kt_sim_srv_set", "kt_slab_fail_after", "kt_smux_test_counters", "kt_supervisor_reload",
} do
  hooks[name] = true
end

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  assert(pipe:close(), command .. " failed")
  return lines
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function folder_of(room) return room.folder or "runtime/" .. room.name end

local function sources(room)
  local found = lines_of(("find %s -maxdepth 1 -name '*.[ch]' -o -maxdepth 1 -name '*.def' | sort"):format(folder_of(room)))
  assert(#found > 0, "no sources in " .. folder_of(room))
  return found
end

--- The folder that an include leads to; nil for a header of a library. It is looked up as the compiler does, whether quotes or
--- angle brackets are around it, so neither hides a header of ours.
local function folder_of_include(path, name)
  for _, folder in ipairs { path:match "^(.*)/", "runtime", "." } do
    local file = io.open(folder .. "/" .. name)
    if file then
      file:close()
      return ((folder .. "/" .. name):match "^(.*)/":gsub("^%./", ""))
    end
  end
end

--- The includes of a file: {name, folder}; folder is nil for a header of a library.
local function includes(path)
  local found = {}
  for line in io.lines(path) do
    local name = line:match '^%s*#%s*include%s*[<"]([^>"]+)'
    if name then found[#found + 1] = { name = name, folder = folder_of_include(path, name) } end
  end
  return found
end

--- The name of the room in a folder; nil if the folder is no room.
local function room_in(folder)
  for _, room in ipairs(rooms) do
    if folder_of(room) == folder then return room.name end
  end
end

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function matches_any(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then return true end
  end
  return false
end

--- The circles of more than `most` names in uses, which has a set of names for each name.
local function circles(uses, most)
  local reach = {} -- name → set of names that it uses, directly or not
  for name in pairs(uses) do
    local seen, queue = {}, { name }
    while #queue > 0 do
      for other in pairs(uses[table.remove(queue)] or {}) do
        if not seen[other] then seen[other], queue[#queue + 1] = true, other end
      end
    end
    reach[name] = seen
  end
  local found = {}
  for name, others in pairs(reach) do
    local circle = {}
    for other in pairs(others) do
      if reach[other] and reach[other][name] then circle[#circle + 1] = other end
    end
    table.sort(circle)
    if #circle > most and circle[1] == name then found[#found + 1] = table.concat(circle, ", ") end
  end
  return found
end

describe("the rooms", function()
  it("are all folders with sources", function()
    local wrong = {}
    for _, path in ipairs(lines_of "find runtime kcp -type f | sort") do
      local folder = path:match "^(.*)/"
      if not room_in(folder) then wrong[#wrong + 1] = path .. " is in no room" end
    end
    for _, room in ipairs(rooms) do
      for _, name in ipairs(room.may) do
        if not room_in(name == "kcp" and name or "runtime/" .. name) then wrong[#wrong + 1] = room.name .. " may include " .. name end
      end
    end
    assert.same({}, wrong)
  end)

  for _, room in ipairs(rooms) do
    it(room.name .. " includes no header of a room above it", function()
      local wrong = {}
      for _, path in ipairs(sources(room)) do
        for _, include in ipairs(includes(path)) do
          local to = include.folder and room_in(include.folder)
          if include.folder and to ~= room.name and not contains(room.may, to) then
            wrong[#wrong + 1] = path .. " includes " .. include.name
          end
        end
      end
      assert.same({}, wrong)
    end)
  end

  it("keep each library where it belongs", function()
    local wrong = {}
    for _, path in ipairs(lines_of("find runtime kcp -name '*.[ch]' | sort")) do
      for _, include in ipairs(includes(path)) do
        local named = include.folder or matches_any(include.name, system)
        for library, where in pairs(libraries) do
          local found = not include.folder and include.name:find(library)
          named = named or found
          if found and not matches_any(path, where) then wrong[#wrong + 1] = path .. " includes " .. include.name end
        end
        if not named then wrong[#wrong + 1] = path .. " includes " .. include.name .. ", of a library that has no row" end
      end
    end
    assert.same({}, wrong)
  end)

  it("have no circle of more than six files whose headers include each other", function()
    local uses = {} -- file without ending → set of files that it or its header includes
    for _, path in ipairs(lines_of "find runtime kcp -name '*.[ch]' | sort") do
      local from = path:sub(1, -3):gsub("_internal$", "") -- one with the header that it completes
      uses[from] = uses[from] or {}
      for _, include in ipairs(includes(path)) do
        local header = include.name:match "([^/]+)%.h$"
        local to = include.folder and header and include.folder .. "/" .. header:gsub("_internal$", "")
        if to and to ~= from then uses[from][to] = true end
      end
    end
    assert.same({}, circles(uses, 6))
  end)

  it("keep the fields of a struct to the folder that owns it", function()
    local wrong = {}
    for _, path in ipairs(lines_of("find runtime spec bench -name '*.[ch]' | sort")) do
      for _, include in ipairs(includes(path)) do
        local folder = inner[include.name]
        if folder and path:sub(1, #folder) ~= folder then wrong[#wrong + 1] = path .. " includes " .. include.name end
      end
    end
    assert.same({}, wrong)
  end)

  it("leave each part of a runtime to the file that parts.h names", function()
    local folder, owners = "runtime/script/core/", {}
    for line in io.lines(folder .. "parts.h") do
      local part, owner = line:match "^    struct kt_[%w_]+ %*([%w_]+);%s+/%* ([%w_]+%.c)[: ]"
      if part then owners[part] = owner end
    end
    assert.is_not_nil(owners.tasks)
    local wrong = {}
    for _, path in ipairs(lines_of("find " .. folder .. " -name '*.[ch]' | sort")) do
      local number = 0
      for line in io.lines(path) do
        number = number + 1
        for part in line:gmatch "%->([%w_]+)" do
          local owner = owners[part]
          if owner and path ~= folder .. owner and line:find("rt%->" .. part .. "%f[^%w_]") then
            wrong[#wrong + 1] = ("%s:%d reaches into %s, which %s owns"):format(path, number, part, owner)
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("leave the fields of a service, which handles embed, to service.c", function()
    local wrong = {}
    for _, path in ipairs(lines_of "find runtime/script spec bench -name '*.[ch]' | sort") do
      for chunk in (path:find "core/service%.[ch]$" and "" or read(path)):gmatch "(.-)\n}" do -- one function
        local uses = chunk:match "%l+[%->.]+service%.[%w_]+" -- l->service.name
        for name in chunk:gmatch "struct kt_service %*([%w_]+)" do
          uses = uses or chunk:match("%f[%w_]" .. name .. "%->[%w_]+")
        end
        if uses then wrong[#wrong + 1] = ("%s: %s"):format(path, uses) end
      end
    end
    assert.same({}, wrong)
  end)

  it("keep the KCP engine pure C", function()
    local wrong = {}
    for _, path in ipairs(lines_of("find kcp -name '*.[ch]' | sort")) do
      for _, include in ipairs(includes(path)) do
        if not include.folder and not matches_any(include.name, pure.kcp) then wrong[#wrong + 1] = path .. " includes " .. include.name end
      end
    end
    assert.same({}, wrong)
  end)
end)

local wires = {} -- their folders in runtime/link/
for folder in read("runtime/link/wires.def"):gmatch "\nKT_WIRE%(%w+, (%w+)%)" do wires[#wires + 1] = folder end

describe("a wire", function()
  it("has a folder of its own, and link has no other but common", function()
    local expected = { "common" }
    for _, wire in ipairs(wires) do expected[#expected + 1] = wire end
    table.sort(expected)
    assert.same(expected, lines_of "find runtime/link -mindepth 1 -maxdepth 1 -type d -printf '%f\\n' | sort")
  end)

  for _, wire in ipairs(wires) do
    it(wire .. " is entered through link/wire.h: no file outside includes its headers or names its functions", function()
      local wrong, own = {}, "runtime/link/" .. wire
      for _, path in ipairs(lines_of "find runtime kcp -name '*.[ch]' | sort") do
        if path:match "^(.*)/" ~= own then
          for _, include in ipairs(includes(path)) do
            if include.folder == own then wrong[#wrong + 1] = path .. " includes " .. include.name end
          end
          local name = read(path):match("%f[%w_]kt_" .. wire .. "_[%w_]+")
          if name then wrong[#wrong + 1] = path .. " names " .. name end
        end
      end
      assert.same({}, wrong)
    end)
  end
end)

describe("what was built of the rooms", function()
  local build = os.getenv("KT_BUILD") or "build"

  --- Symbols of the room's library: {object, number, section, name, global}; number: of the object, whose name may occur
  --- in several folders; section "*UND*" for what it takes from elsewhere.
  local function symbols(room)
    local list, object, number = {}, "?", 0
    for _, line in ipairs(lines_of(("objdump -t %s/libkt_%s.a"):format(build, room))) do
      local next_object = line:match "^(%S+%.o):"
      if next_object then object, number = next_object, number + 1 end
      local scope, section, name = line:match("^%x+ (.)......%s(%S+)%s+%x+%s+(.*)$")
      if section then
        name = name:gsub("^%.hidden ", "")
        list[#list + 1] = { object = object, number = number, section = section, name = name, global = scope == "g" }
      end
    end
    assert(#list > 0, "no symbols in the library of " .. room)
    return list
  end

  for _, room in ipairs { "base", "kcp", "crypto", "http", "io", "link", "script", "control" } do
    it(room .. " has no global and no static variable", function()
      local wrong = {}
      for _, symbol in ipairs(symbols(room)) do
        local s = symbol.section
        local variable = s == "*COM*" or s:find("^%.t?bss") or s:find("^%.tdata") or (s:find("^%.data") and not s:find("^%.data%.rel%.ro"))
        if variable and symbol.name ~= s then wrong[#wrong + 1] = symbol.object .. ": " .. symbol.name end
      end
      assert.same({}, wrong)
    end)
  end

  --- The rooms of script/ by object, and for each object the set of objects whose symbols it uses.
  local function script_uses()
    local room_of_object, defined, uses = {}, {}, {}
    for _, room in ipairs(rooms) do
      for _, path in ipairs(room.name:find "^script/" and sources(room) or {}) do
        local object = path:match "([^/]+%.c)$"
        assert(not object or not room_of_object[object], path .. ": another file of script/ has this name")
        if object then room_of_object[object] = room end
      end
    end
    local list = symbols "script"
    for _, symbol in ipairs(list) do
      local object = symbol.object:match "^(.*)%.o$"
      symbol.object, uses[object] = object, {}
      if symbol.global then defined[symbol.name] = object end
    end
    for _, symbol in ipairs(list) do
      local from = symbol.section == "*UND*" and defined[symbol.name]
      if from and from ~= symbol.object then uses[symbol.object][from] = symbol.name end
    end
    return room_of_object, uses
  end

  it("script calls no room above", function()
    local room_of_object, uses = script_uses()
    local wrong = {}
    for object, others in pairs(uses) do
      local room = room_of_object[object]
      for other, name in pairs(others) do
        local to = room_of_object[other]
        if to ~= room and not contains(room.may, to.name) then wrong[#wrong + 1] = ("%s uses %s of %s"):format(object, name, to.name) end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("script has no circle of more than six files that use each other", function()
    local _, uses = script_uses()
    assert.same({}, circles(uses, 6))
  end)

  for _, name in ipairs { "link", "io" } do
    it(name .. " has no circle of more than eight files that use each other", function()
      local list, defined, uses = symbols(name), {}, {}
      for _, symbol in ipairs(list) do
        symbol.id = ("%s (%d)"):format(symbol.object, symbol.number)
        uses[symbol.id] = {}
        if symbol.global and symbol.section ~= "*UND*" then defined[symbol.name] = symbol.id end
      end
      for _, symbol in ipairs(list) do
        local from = symbol.section == "*UND*" and defined[symbol.name]
        if from then uses[symbol.id][from] = true end
      end
      assert.same({}, circles(uses, 8))
    end)
  end

  it("every function that is not static has a caller outside its file", function()
    local defined, wanted = {}, {}
    for _, room in ipairs { "base", "kcp", "crypto", "http", "io", "link", "script", "control" } do
      for _, symbol in ipairs(symbols(room)) do
        if symbol.section == "*UND*" then
          wanted[symbol.name] = true
        elseif symbol.global and symbol.section:find "^%.text" then
          defined[symbol.name] = symbol.object:match "^(.*)%.o$"
        end
      end
    end
    for _, path in ipairs(lines_of "find runtime/main.c runtime/module.c runtime/cli bench -name '*.c'") do
      local file = assert(io.open(path))
      for name in file:read("a"):gmatch "kt_[%w_]+" do wanted[name] = true end
      file:close()
    end
    local wrong = {}
    for name, object in pairs(defined) do
      if not wanted[name] and not hooks[name] then wrong[#wrong + 1] = object .. ": " .. name end
      if wanted[name] and hooks[name] then wrong[#wrong + 1] = name .. " is used; it needs no exception" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("script names no symbol of a wire", function()
    local wrong, prefixes = {}, { "^kt_smux_", "^kt_snappy_" } -- kcptun's two protocols
    for _, folder in ipairs(wires) do prefixes[#prefixes + 1] = "^kt_" .. folder .. "_" end
    for _, symbol in ipairs(symbols "script") do
      if matches_any(symbol.name, prefixes) then
        wrong[#wrong + 1] = symbol.object .. " uses " .. symbol.name
      end
    end
    assert.same({}, wrong)
  end)

  for _, room in ipairs { "base", "kcp", "crypto", "http", "link", "script", "control" } do
    it(room .. " takes time, chance and the network through io only", function()
      local wrong = {}
      for _, symbol in ipairs(symbols(room)) do
        if symbol.section == "*UND*" and contains(only_in_io, symbol.name) then
          wrong[#wrong + 1] = symbol.object .. " uses " .. symbol.name
        end
      end
      assert.same({}, wrong)
    end)
  end
end)
