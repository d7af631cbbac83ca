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

-- Headers that define a struct for some files only, and the files that may include them: of their folder by name, or by a path;
-- "*": all of that folder. Elsewhere the struct is opaque. Each *_internal.h has a row.
local inner = {
  ["kcp/kcp_internal.h"] = { "kcp.c", "kcp_address_proof.c", "kcp_flush.c", "kcp_input.c", "spec/support/kcp_check.h" },
  ["runtime/crypto/kcptun/qpp_internal.h"] = { "qpp.c", "spec/support/spec_crypto.c" },
  ["runtime/crypto/secretstream_internal.h"] = { "secretstream.c", "spec/support/spec_crypto.c", "spec/fuzz/fuzz_secretstream.c" },
  ["runtime/io/sim/internal.h"] = { "*" },
  ["runtime/io/uv/conn_internal.h"] = { "conn.c", "conn_read.c", "conn_write.c" },
  ["runtime/link/kcptun/acceptor_internal.h"] = { "acceptor.c", "guest.c", "route.c" },
  ["runtime/link/kcptun/link_internal.h"] = { "link.c", "dial.c" },
  ["runtime/link/kcptun/session_internal.h"] = {
    "session.c", "session_address.c", "session_bytes.c", "session_facts.c", "session_health.c", "session_limits.c", "session_mtu.c",
    "session_probe.c", "session_stall.c",
  },
  ["runtime/link/kcptun/smux_internal.h"] = {
    "smux.c", "smux_event.c", "smux_recv.c", "smux_refuse.c", "smux_send.c", "smux_stream.c", "smux_window.c",
    "spec/support/spec_smux.c", "spec/fuzz/fuzz_smux.c",
  },
  ["runtime/link/native/acceptor_internal.h"] = { "acceptor.c", "guest.c", "route.c" },
  ["runtime/link/native/association_internal.h"] = {
    "association.c", "association_facts.c", "association_input.c", "association_output.c", "association_streams.c", "path.c", "paths.c",
    "spread.c",
  },
  ["runtime/link/native/link_internal.h"] = {
    "link.c", "attempt.c", "check.c", "dial.c", "dial_socket.c", "extra_paths.c", "remotes.c",
  },
  ["runtime/script/api/lua_link.h"] = { "lua_link.c", "lua_link_on.c", "lua_accept.c", "lua_flow.c", "lua_inspect.c" },
  ["runtime/script/api/lua_udp_internal.h"] = { "lua_udp.c", "lua_udp_io.c" },
  ["runtime/script/core/parts.h"] = { "*" },
  ["runtime/script/core/task_internal.h"] = { "task.c", "task_facts.c" },
  ["runtime/script/sandbox/box.h"] = { "*" },
}

-- Structs whose fields others may read, but only one file writes: where it is defined, that file, and fields that are free.
local owned = {
  kt_kcptun_context = { header = "runtime/link/kcptun/context.h", owner = "runtime/link/kcptun/context.c" },
  kt_kcp_acks = { header = "kcp/kcp_acks.h", owner = "kcp/kcp_acks.c" },
  kt_logger = { header = "runtime/script/core/logger.h", owner = "runtime/script/core/logger.c" },
  kt_lua_link = { header = "runtime/script/api/lua_link.h", owner = "runtime/script/api/lua_link" },
  kt_native_context = { header = "runtime/link/native/context.h", owner = "runtime/link/native/context.c", free = { drops = true } },
  kt_recv_ring = { header = "kcp/recv_ring.h", owner = "kcp/recv_ring.c" },
  kt_send_ring = { header = "kcp/send_ring.h", owner = "kcp/send_ring.c" },
  kt_sim_host = { header = "runtime/io/sim/internal.h", owner = "runtime/io/sim/host.c" },
}

-- The engine is pure: it may not know that there are sockets, clocks or files.
local pure = { ["kcp"] = { "assert", "errno", "inttypes", "limits", "stdalign", "stdbool", "stddef", "stdint", "stdlib", "string", "isa%-l" } }

-- Nondeterminism comes through io's seam, so that the simulator can stand in for it.
local only_in_io = {
  "clock_gettime", "gettimeofday", "time", "rand", "random", "getrandom", "randombytes_buf", "randombytes_random",
  "gcry_randomize", "gcry_create_nonce", "socket", "bind", "connect", "accept4", "sendto", "sendmsg", "sendmmsg", "recvfrom",
  "recvmsg", "recvmmsg", "getaddrinfo", "nanosleep", "usleep", "sleep", "poll", "uv_hrtime", "uv_now",
}

-- Functions that only specs, fuzz targets and benchmarks call from other files: they set what these cannot reach otherwise, or
-- show it.
local hooks = {}
for _, name in ipairs {
  "kt_fec_enc_seek", "kt_guard_overrun_us", "kt_native_number", "kt_native_recovery_bytes", "kt_native_recovery_reorder",
  "kt_seal_method_name", "kt_secretstream_seal_tagged", "kt_sim_srv_set", "kt_slab_fail_after", "kt_supervisor_reload",
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

local texts = {} -- by path: most checks read all sources

local function read(path)
  if not texts[path] then
    local file = assert(io.open(path))
    texts[path] = file:read "a"
    file:close()
  end
  return texts[path]
end

local function folder_of(room) return room.folder or "runtime/" .. room.name end

local function sources(room)
  local found = lines_of(("find %s -maxdepth 1 -name '*.[ch]' -o -maxdepth 1 -name '*.def' | sort"):format(folder_of(room)))
  assert(#found > 0, "no sources in " .. folder_of(room))
  return found
end

--- The path of the header that an include leads to; nil for one of a library. It is looked up as the compiler does, whether
--- quotes or angle brackets are around it, so neither hides a header of ours.
local function header_of_include(path, name)
  for _, folder in ipairs { path:match "^(.*)/", "runtime", "." } do
    local found = folder .. "/" .. name
    local file = io.open(found)
    if file then
      file:close()
      local parts = {}
      for part in found:gmatch "[^/]+" do
        if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
      end
      return table.concat(parts, "/")
    end
  end
end

local included = {} -- by path, what follows returns

--- The includes of a file: {name, path, folder}; path and folder are nil for a header of a library. Raises for one whose name
--- this cannot read.
local function includes(path)
  if included[path] then return included[path] end
  local found = {}
  for line in read(path):gmatch "[^\n]+" do
    local code = line:find "[#%%]" and line:gsub("/%*.-%*/", "") or ""
    if code:find '^[^"]*#.*include' or code:find "^%s*%%:" then
      local name = code:match '^%s*#%s*include%s*[<"]([^>"]+)[>"]'
      assert(name, path .. ": expected an include of <NAME> or \"NAME\", got " .. line)
      local header = header_of_include(path, name)
      found[#found + 1] = { name = name, path = header, folder = header and header:match "^(.*)/" }
    end
  end
  included[path] = found
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

--- The set of names of variables, fields and parameters in a text that are of this struct, or point to one.
local function names_of(struct, text)
  local found = {}
  for list in text:gmatch("struct " .. struct .. "%s+([%w_%s%*,%[%]%+]+)") do
    list = list:gsub(",%s*[%a_][%w_]*%s+[%*%a_].*$", "") -- the parameters after it
    for item in list:gmatch "[^,]+" do
      local name = item:gsub("%[.*", ""):match "([%a_][%w_]*)%s*$"
      if name then found[name] = true end
    end
  end
  return found
end

--- Each x->field or x.field in a line of C: {name, inner, field, writes}. name: of x, or ")" of what is in parentheses; inner:
--- x is itself a field; writes: the line changes the field, or a part of it.
local function accesses(line)
  local found = {}
  for from, to, field, after in line:gmatch "()[%->%.]+()%f[%a_]([%w_]+)()" do
    local head, tail = line:sub(1, from - 1):gsub("%b[]$", ""), line:sub(after)
    local name, op = head:match "([%a_][%w_]*)$" or head:match "%)$", line:sub(from, to - 1)
    repeat
      local rest = tail
      tail = tail:gsub("^%.[%w_]+", ""):gsub("^%b[]", "")
    until tail == rest
    if name and (op == "->" or op == ".") then
      found[#found + 1] = { name = name, inner = head:sub(1, -#name - 1):find "[>%.]$" ~= nil, field = field,
        writes = tail:find "^%s*[%+%-%*/|&^]?=[^=]" or tail:find "^%s*[<>][<>]=" or tail:find "^%+%+" or tail:find "^%-%-"
          or head:find "%+%+[%w_%->%.]*$" or head:find "%-%-[%w_%->%.]*$" }
    end
  end
  return found
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

  it("include a header of a few files in those alone", function()
    local wrong = {}
    for _, path in ipairs(lines_of "find runtime kcp spec bench -name '*.[ch]' | sort") do
      if path:find "_internal%.h$" and not inner[path] then wrong[#wrong + 1] = path .. " is in no row of the table" end
      local folder = path:match "^(.*)/"
      for _, include in ipairs(includes(path)) do
        local may = inner[include.path]
        local own = folder == include.folder and (may and contains(may, "*") or may and contains(may, path:match "[^/]+$"))
        if may and not own and not contains(may, path) then wrong[#wrong + 1] = path .. " includes " .. include.name end
      end
    end
    assert.same({}, wrong)
  end)

  it("write to the fields of a struct in the file that owns it", function()
    local files, declared = {}, {} -- declared: the fields of all structs, as text
    for _, path in ipairs(lines_of "find runtime kcp -name '*.[ch]' | sort") do
      local file = { path = path, text = read(path), writes = {} }
      local number = 0
      for line in file.text:gmatch "([^\n]*)\n" do
        number = number + 1
        if line:find "^%s+struct [^()=]+;" then declared[#declared + 1] = line end
        for _, access in ipairs(line:find "[=%+%-]" and accesses(line) or {}) do
          access.line = number
          if access.writes then file.writes[#file.writes + 1] = access end
        end
      end
      files[#files + 1] = file
    end
    declared = table.concat(declared, "\n")
    local wrong = {}
    for struct, row in pairs(owned) do
      local fields = {}
      local body = assert(read(row.header):match("\nstruct " .. struct .. " {\n(.-)\n}"), row.header .. " has no struct " .. struct)
      for line in body:gsub("/%*.-%*/", ""):gmatch "[^;]+;" do
        for name in line:gsub("%b[]", ""):gmatch "([%a_][%w_]*)%s*[,;]" do fields[name] = not (row.free and row.free[name]) end
      end
      assert(next(fields))
      local members = names_of(struct, declared)
      for _, file in ipairs(files) do
        local own = file.path == row.header or file.path:sub(1, #row.owner) == row.owner
        local locals = names_of(struct, file.text)
        for _, access in ipairs(own and {} or file.writes) do
          if fields[access.field] and (access.inner and members or locals)[access.name] then
            wrong[#wrong + 1] = ("%s:%d writes %s.%s, which %s owns"):format(file.path, access.line, struct, access.field, row.owner)
          end
        end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("leave each part of a runtime to the file that parts.h names", function()
    local folder, owners = "runtime/script/core/", {}
    for line in io.lines(folder .. "parts.h") do
      local part, owner = line:match "^    struct kt_[%w_]+ %*([%w_]+);%s+/%* ([%w_]+%.c)[: ]"
      if part then owners[part] = owner end
    end
    assert.is_not_nil(owners.tasks)
    local files, runtimes = lines_of("find " .. folder .. " -name '*.[ch]' | sort"), {} -- names of what points to a runtime
    for _, path in ipairs(files) do
      for name in pairs(names_of("kt_runtime", read(path))) do runtimes[name] = true end
    end
    assert.is_true(runtimes.rt)
    local wrong = {}
    for _, path in ipairs(files) do
      local number = 0
      for line in io.lines(path) do
        number = number + 1
        for _, access in ipairs(accesses(line)) do
          local owner = owners[access.field]
          if owner and path ~= folder .. owner and (runtimes[access.name] or access.name == ")") then
            wrong[#wrong + 1] = ("%s:%d reaches into %s, which %s owns"):format(path, number, access.field, owner)
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
        if not chunk:find("service", 1, true) then chunk = "" end
        local uses = chunk:match "%l[%->.]+service%.[%w_]+" -- l->service.name
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

describe("a wire", function()
  local wires = {} -- their folders in runtime/link/
  for folder in read("runtime/link/wires.def"):gmatch "\nKT_WIRE%(%w+, (%w+)%)" do wires[#wires + 1] = folder end

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

it("every macro and inline function of a header is used", function()
  local code, count = {}, {}
  for _, path in ipairs(lines_of "find runtime kcp -name '*.[ch]' -o -name '*.def' | sort") do
    code[path] = read(path):gsub("/%*.-%*/", "")
    for word in code[path]:gmatch "[%a_][%w_]*" do count[word] = (count[word] or 0) + 1 end
  end
  local wrong = {}
  for path, text in pairs(code) do
    local patterns = { "\n#define (KT_[%w_]+)", "\nstatic inline [^;{(]-(kt_[%w_]+)%(" }
    for _, pattern in ipairs(path:find "%.h$" and patterns or {}) do
      for name in text:gmatch(pattern) do
        if count[name] == 1 then wrong[#wrong + 1] = path .. ": " .. name end
      end
    end
  end
  table.sort(wrong)
  assert.same({}, wrong)
end)

describe("what was built of the rooms", function()
  local build = os.getenv("KT_BUILD") or "build"

  local libraries_built = { "base", "kcp", "crypto", "http", "io", "link", "script", "control" }

  --- Symbols of the files of a library, or of the program kt: {path, section, name, global}; path: of the source; section
  --- "*UND*" for what it takes from elsewhere.
  local function symbols(library)
    local folder = ("%s/CMakeFiles/kt%s.dir/"):format(build, library == "kt" and "" or "_" .. library)
    local list, path = {}, nil
    for _, line in ipairs(lines_of(("find %s -name '*.o' | sort | xargs objdump -t"):format(folder))) do
      local object = line:match "^(%S+)%.o:"
      if object then
        path = object:sub(#folder + 1)
        local source = io.open(path)
        if source then source:close() else path = nil end -- of a source that is no more
      end
      local scope, section, name = line:match("^%x+ (.)......%s(%S+)%s+%x+%s+(.*)$")
      if section and path then
        list[#list + 1] = { path = path, section = section, name = name:gsub("^%.hidden ", ""), global = scope == "g" }
      end
    end
    assert(#list > 0, "no objects of " .. library)
    return list
  end

  for _, room in ipairs(libraries_built) do
    it(room .. " has no global and no static variable", function()
      local wrong = {}
      for _, symbol in ipairs(symbols(room)) do
        local s = symbol.section
        local variable = s == "*COM*" or s:find("^%.t?bss") or s:find("^%.tdata") or (s:find("^%.data") and not s:find("^%.data%.rel%.ro"))
        if variable and symbol.name ~= s then wrong[#wrong + 1] = symbol.path .. ": " .. symbol.name end
      end
      assert.same({}, wrong)
    end)
  end

  --- For each source that these libraries were built of, the set of sources whose symbols it uses, with one such symbol.
  local function uses_of(...)
    local list, defined, uses = {}, {}, {}
    for _, library in ipairs { ... } do
      for _, symbol in ipairs(symbols(library)) do
        list[#list + 1], uses[symbol.path] = symbol, {}
        if symbol.global and symbol.section ~= "*UND*" then defined[symbol.name] = symbol.path end
      end
    end
    for _, symbol in ipairs(list) do
      local from = symbol.section == "*UND*" and defined[symbol.name]
      if from and from ~= symbol.path then uses[symbol.path][from] = symbol.name end
    end
    return uses
  end

  it("uses nothing of a room above, whatever it includes", function()
    local wrong, seen = {}, 0
    for path, others in pairs(uses_of("kt", table.unpack(libraries_built))) do
      local from, may = room_in(path:match "^(.*)/"), nil
      for _, room in ipairs(rooms) do
        if room.name == from then may = room.may end
      end
      for other, name in pairs(others) do
        local to = room_in(other:match "^(.*)/")
        -- The list of wires, and the wire that is made of two, name wires.
        local wire = (path == "runtime/link/wires.c" or path == "runtime/link/both/wire.c") and name:find "^kt_%w+_wire$"
        if from ~= to and not contains(may, to) and not wire then wrong[#wrong + 1] = ("%s uses %s of %s"):format(path, name, other) end
        seen = seen + 1
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
    assert.is_true(seen > 1000)
  end)

  for library, most in pairs { script = 6, link = 8, io = 8 } do
    it(("%s has no circle of more than %d files that use each other"):format(library, most), function()
      assert.same({}, circles(uses_of(library), most))
    end)
  end

  it("every function that is not static has a caller outside its file", function()
    local defined, wanted = {}, {}
    for _, library in ipairs(libraries_built) do
      for _, symbol in ipairs(symbols(library)) do
        if symbol.section == "*UND*" then
          wanted[symbol.name] = true
        elseif symbol.global and symbol.section:find "^%.text" then
          defined[symbol.name] = symbol.path
        end
      end
    end
    for _, path in ipairs(lines_of "find runtime/main.c runtime/module.c runtime/cli -name '*.c'") do
      for name in read(path):gmatch "kt_[%w_]+" do wanted[name] = true end
    end
    local wrong = {}
    for name, path in pairs(defined) do
      if not wanted[name] and not hooks[name] then wrong[#wrong + 1] = path .. ": " .. name end
      if wanted[name] and hooks[name] then wrong[#wrong + 1] = name .. " is used; it needs no exception" end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  for _, room in ipairs { "base", "kcp", "crypto", "http", "link", "script", "control" } do
    it(room .. " takes time, chance and the network through io only", function()
      local wrong = {}
      for _, symbol in ipairs(symbols(room)) do
        if symbol.section == "*UND*" and contains(only_in_io, symbol.name) then
          wrong[#wrong + 1] = symbol.path .. " uses " .. symbol.name
        end
      end
      assert.same({}, wrong)
    end)
  end
end)
