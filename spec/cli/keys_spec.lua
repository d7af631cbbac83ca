-- Keys in the memory of a running kt, and warnings about keys that other users can read. Real processes; Linux's /proc.
local h = require "harness"
local scripts = require "harness.scripts"

local kt = scripts.kt
local KEY = "uNm1stakable/key#0815" -- as it must not be found

--- The mappings of a process: { from, to, flags }, those that can be read.
local function mappings(pid)
  local list = {}
  for line in io.lines(("/proc/%d/smaps"):format(pid)) do
    local from, to, rights = line:match "^(%x+)%-(%x+) (%S+)"
    if from then
      list[#list + 1] = { from = tonumber(from, 16), to = tonumber(to, 16), readable = rights:find "r" ~= nil, flags = "" }
    else
      list[#list].flags = line:match "^VmFlags: (.*)" or list[#list].flags
    end
  end
  return list
end

--- Calls found(mapping) for each place in the process's memory, its stack aside, where the text is.
local function search(pid, text, found)
  local memory = assert(io.open(("/proc/%d/mem"):format(pid), "rb"))
  for _, m in ipairs(mappings(pid)) do
    local size = m.to - m.from
    if m.readable and size < 256 << 20 and not m.flags:find "%f[%a]io%f[%A]" and m.from < 1 << 47 then
      memory:seek("set", m.from)
      local data, at = memory:read(size) or "", 1
      while true do
        at = data:find(text, at, true)
        if not at then break end
        found(m)
        at = at + 1
      end
    end
  end
  memory:close()
end

local function count(pid, text)
  local n = 0
  search(pid, text, function() n = n + 1 end)
  return n
end

--- Checks that a mapping is kept out of core dumps and swap space; the sanitizers do not let memory be locked.
local function locked(m)
  assert.matches("%f[%a]dd%f[%A]", m.flags)
  if not h.light then assert.matches("%f[%a]lo%f[%A]", m.flags) end
end

describe("a key", function()
  after_each(h.cleanup)

  it("from a file is in memory at most once when kt client or kt server runs, in memory that is neither swapped out nor dumped", function()
    h.run(function()
      local config = h.temporary_path()
      h.write_file(config, ('{"key": "%s", "smuxver": 2}'):format(KEY))
      os.execute("chmod 600 " .. config)
      local client, server = h.peer.tunnel(h.transfer.echo().at, { c = config, smuxver = false })
      local conn = assert(h.sockets.connect(client.at))
      conn:send "hello"
      assert.equal("hello", conn:recv_exactly(5))
      for _, p in ipairs { client, server } do
        assert.is_true(count(p.pid, "smuxver") > 0) -- the search works
        search(p.pid, KEY, locked)
        local n = count(p.pid, KEY)
        assert.is_true(n <= 1, n)
        assert.is_nil(p:logged():find("chmod", 1, true))
      end
    end)
  end)

  it("in a secret is held once, in memory that is neither swapped out nor dumped", function()
    h.run(function()
      local file, script = h.temporary_path(), h.temporary_path()
      h.write_file(file, KEY .. "\n")
      os.execute("chmod 600 " .. file)
      h.write_file(script, ([[
        local kt = require "kt"
        local secret = kt.secret_file %q
        kt.link { remote = "127.0.0.1:9", key = secret, crypt = "aes-128-gcm" }
        kt.spawn(function() kt.log.info "up" kt.sleep(600) return secret end)]]):format(file))
      local p = h.start { name = "kt", cmd = { kt, "run", script } }
      p:expect "up"
      local n = 0
      search(p.pid, KEY, function(m)
        n = n + 1
        locked(m)
      end)
      assert.equal(1, n)
    end)
  end)

  it("works where no memory can be locked", function()
    h.run(function()
      local server = h.peer.server(h.transfer.echo().at)
      local port = h.sockets.free_port "tcp"
      h.start { name = "kt", cmd = { "sh", "-c", 'ulimit -l 0; exec setpriv --bounding-set=-ipc_lock "$0" "$@"', kt, "client", "-l",
        "127.0.0.1:" .. port, "-r", "127.0.0.1:" .. server.port } }:wait_tcp(port)
      local conn = assert(h.sockets.connect(port))
      conn:send "hello"
      assert.equal("hello", conn:recv_exactly(5))
    end)
  end)

  it("in a file that every user can read is warned about", function()
    h.run(function()
      for _, mode in ipairs { "644", "640", "606", "600" } do
        local config = h.temporary_path()
        h.write_file(config, '{"key": "k"}')
        os.execute(("chmod %s %s"):format(mode, config))
        local client = h.peer.client(9, { c = config, smuxver = false })
        client:expect "crypt aes"
        client:signal_with "sigterm"
        client:wait_exit(10)
        assert.equal(mode:sub(3) ~= "0", client.stderr:find(config .. " holds the key and every user can read it; chmod 600 " .. config, 1, true) ~= nil, mode)
      end
    end)
  end)

  it("with a method that does not authenticate is warned about", function()
    h.run(function()
      local weak = { salsa20 = true, xor = true, none = true, null = true, aes = false, ["aes-128-gcm"] = false, tea = false }
      for crypt, is_weak in pairs(weak) do
        local server = h.peer.server(9, { crypt = crypt, key = "k" })
        server:signal_with "sigterm"
        server:wait_exit(10)
        local said = server.stderr:match("warn  server: (crypt " .. crypt:gsub("%p", "%%%0") .. " [^\n]*)")
        assert.equal(is_weak, said ~= nil, crypt)
        if is_weak then assert.matches("forge", said) end
      end
    end)
  end)
end)
