-- A kt whose address space is too small: at every limit it either says so at start and exits with 1, or runs, refuses what it
-- has no room for, and ends on SIGTERM. It never aborts and never crashes. Real processes, as RLIMIT_AS is the kernel's.
local h = require "harness"
local scripts = require "harness.scripts"

local kt = scripts.kt

--- Starts kt with `mib` MiB of address space.
local function start(mib, ...)
  return h.start { name = ("kt in %d MiB"):format(mib), cmd = { "sh", "-c", ('ulimit -c 0; ulimit -v %d; exec "$0" "$@"'):format(mib * 1024), kt, ... } }
end

local function died(p)
  return p.exited and (p.signal ~= 0 or p.code ~= 0 and p.code ~= 1) and
    ("%s ended with code %d, signal %d:\n%s"):format(p.name, p.code, p.signal, p.stderr:sub(-400))
end

--- At each limit: starts what `begin` starts, waits for `ready` or its end, has `use` use it, and ends it. Returns at how many it ran.
local function sweep(limits, begin, ready, use)
  local ran = 0
  for _, mib in ipairs(limits) do
    h.run(function()
      local p = begin(mib)
      h.loop.eventually("a start or an end", 20, function() return p.exited or ready(p) end)
      if not p.exited then
        use(p)
        ran = ran + (p.exited and 0 or 1)
        p:signal_with "sigterm"
        p:signal_with "sigterm"
      end
      p:wait_exit(20)
      local why = died(p)
      if why and p.signal ~= 15 then error(why, 0) end
      if p.code == 1 and p.signal == 0 then assert.matches("memory", p.stderr .. p.stdout) end
    end)
    h.cleanup()
  end
  return ran
end

local function range(from, to, step)
  local list = {}
  for mib = from, to, step do list[#list + 1] = mib end
  return list
end

--- The passphrase takes 64 MiB for a moment on kt's wire. So less than that goes to kcptun's wire alone, but for one limit.
local function wire(mib) return (mib >= 90 or mib == 60) and "auto" or "kcptun" end

--- A name at every second limit: its lookup needs threads, and a numeric address goes further without them.
local function host(mib) return mib % 4 == 0 and "localhost:" or "127.0.0.1:" end

-- The sanitizers need terabytes of address space.
local outside = h.light and pending or it

describe("kt without memory", function()
  after_each(h.cleanup)

  --- Uses a tunnel: many connections at once, half of them with what compresses.
  local function many(at)
    local conns = {}
    for i = 1, 300 do
      local conn = h.sockets.connect(at, 2)
      if conn then
        conn.handle:try_write((i % 2 == 0 and "compress me " or "\1\2\3"):rep(2000))
        conns[#conns + 1] = conn
      end
    end
    h.loop.sleep(0.4)
    for _, conn in ipairs(conns) do conn:close() end
  end

  outside("never aborts as a server", function()
    local target
    local ran = sweep(range(30, 192, 18), function(mib)
      target = h.transfer.echo()
      local port = h.sockets.free_port "udp"
      local p = start(mib, "server", "--wire", wire(mib), "-l", "127.0.0.1:" .. port, "-t", host(mib) .. target.at)
      p.port = port
      return p
    end, function(p) return h.proc.udp_bound(p.port) end, function(p)
      many(h.peer.client(p.port, { smuxver = 2 }).at)
    end)
    assert.is_true(ran > 5, ran)
  end)

  outside("never aborts as a client", function()
    local ran = sweep(range(30, 192, 18), function(mib)
      local server = h.peer.server(h.transfer.echo().at)
      local port = h.sockets.free_port "tcp"
      local p = start(mib, "client", "--wire", wire(mib), "-l", "127.0.0.1:" .. port, "-r", host(mib) .. server.port)
      p.at = port
      return p
    end, function(p) return h.proc.tcp_listening(p.at) end, function(p) many(p.at) end)
    assert.is_true(ran > 5, ran)
  end)

  outside("never aborts with a script that wants more and more", function()
    local script = os.tmpname()
    finally(function() os.remove(script) end)
    h.write_file(script, [[
local kt = require "kt"
kt.log.info "up"
local kept = {}
for _ = 1, 20 do
  kt.spawn(function()
    while true do
      local ok = pcall(function() kept[#kept + 1] = ("x"):rep(200000 + #kept) end)
      if not ok then kept = {} end
      pcall(kt.resolve, "localhost:1")
      kt.sleep(0.001)
    end
  end)
end]])
    local ran = sweep(range(20, 90, 10), function(mib) return start(mib, "run", "--memory", "none", script) end,
      function(p) return p.stderr:find "up" end, function() h.loop.sleep(0.5) end)
    assert.is_true(ran > 3, ran)
  end)
end)
