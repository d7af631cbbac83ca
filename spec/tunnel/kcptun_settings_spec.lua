-- The same flags, configuration file and environment given to Debian's kcptun (20210922) and to kt: both must listen and dial at the same
-- addresses, with the same key, and send datagrams that are made the same way. What kt refuses on purpose is at the end, and in docs/kcptun.md.
local h = require "harness"

-- In arguments and files: NEAR is a TCP port to listen on, FAR the UDP port of a server, TARGET a TCP port that echoes, FILE the case's file.
local function filled(text, ports) return (text:gsub("%u%u%u+", ports)) end

local IMPLS = { "kt", "kcptun" }

--- The command of one implementation, its arguments and file with the ports of this run.
local function started(impl, role, case, ports, base)
  if case.file then
    ports.FILE = h.temporary_path()
    h.write_file(ports.FILE, filled(case.file, ports))
  end
  local cmd = impl == "kt" and { h.peer.kt, role, "--wire", "kcptun" } or { "kcptun-" .. role }
  for _, list in ipairs { base, case } do
    for _, arg in ipairs(list) do cmd[#cmd + 1] = filled(arg, ports) end
  end
  return h.start { name = impl .. " " .. role, cmd = cmd, env = case.env or { KCPTUN_KEY = false }, cwd = case.cwd, graceful = impl == "kt" }
end

local function listens(p, ports)
  local list = table.concat(h.tap.listening(p.pid, ports.FAR), " ")
  for name, port in pairs(ports) do list = list:gsub(":" .. port .. "%f[%D]", ":" .. name) end
  return list
end

--- Runs fn for both at the same time; returns both results.
local function both(observe)
  local seen = {}
  h.loop.all(30, function() seen.kt = observe "kt" end, function() seen.kcptun = observe "kcptun" end)
  return seen
end

-- ---- what a client sends, in clear ----

local NOISE = h.pattern.blocks(16, 60000)() -- which does not compress, and fills 32 segments


-- kt sends frames of at most 8192 bytes, kcptun of 32768; a window fills up to its last segment with small ones.
local CLEAR = { "-l", "127.0.0.1:NEAR", "-r", "127.0.0.1:FAR", "--crypt", "none", "--nocomp", "--smuxver", "1" }
local CLEAR_KT = { "--framesize", "512", table.unpack(CLEAR) }

local USUAL = { listens = "tcp 127.0.0.1:NEAR", dials = "127.0.0.1", fec = true, compressed = false, smux = 1, rcvwnd = 512, largest = 1350 }

-- Each case: title, arguments, and differences from USUAL.
local clear = {
  { "nothing else", {}, {} },
  { "one dash, and a value after =", { "-rcvwnd=100", "--mtu=1000", "-datashard=0" }, { rcvwnd = 100, largest = 1000, fec = false } },
  { "short forms of long flags", { "--ds", "20", "-ps", "0" }, { fec = false } },
  { "a flag that is repeated", { "--mtu", "1000", "-mtu=1200" }, { largest = 1200 } },
  { "numbers in Go's spelling", { "--rcvwnd", "0x40", "--mtu", "01750" }, { rcvwnd = 64, largest = 1000 } },
  { "numbers with a sign and with underscores", { "--rcvwnd", "+1_00", "--ds", "-1" }, { rcvwnd = 100, fec = false } },
  { "windows of 0", { "--sndwnd", "0", "--rcvwnd", "0" }, { rcvwnd = 32, outstanding = 32 } },
  { "windows below 0", { "--sndwnd", "-5", "--rcvwnd", "-5" }, { rcvwnd = 32, outstanding = 32 } },
  { "a send window", { "--sndwnd", "7" }, { outstanding = 7 } },
  { "an mtu that is too small to be one", { "--mtu", "20" }, { largest = 1400 } },
  { "parity of 0", { "--ps", "0" }, { fec = false } },
  { "parity below 0", { "--ps=-3" }, { fec = false } },
  { "compression turned on again", { "--nocomp=false" }, { compressed = true } },
  { "booleans in Go's spelling", { "--nocomp=F", "-quiet=T", "--acknodelay=0" }, { compressed = true } },
  { "smux 2", { "--smuxver", "2", "--mode", "fast" }, { smux = 2 } },
  { "mode manual with numbers out of range", { "--mode", "manual", "-interval", "1", "-nodelay", "2", "-resend", "-1", "-nc", "7" }, {} },
  { "numbers out of range that its mode does not use", { "-interval", "-1", "-nodelay", "9", "-resend", "1000", "-nc", "-1" }, {} },
  { "times below 0", { "-scavengettl", "-1", "-autoexpire", "-1", "-snmpperiod", "-1" }, {} },
  { "buffers out of range", { "-sockbuf", "-1", "-dscp", "184" }, {} },
  { "an empty -c", { "-c", "" }, {} },
  { "a host by name", { "-l", "localhost:NEAR", "-r", "localhost:FAR" }, {} },
  { "no host to listen on", { "-l", ":NEAR" }, { listens = "tcp [::]:NEAR" } },
  { "IPv6 in brackets", { "-l", "[::]:NEAR", "-r", "[::1]:FAR" }, { listens = "tcp [::]:NEAR", dials = "[::1]" } },
  { "the wildcard to dial", { "-r", "0.0.0.0:FAR" }, {} },
  { "IPv6's wildcard to dial", { "-r", "[::]:FAR" }, { dials = "[::1]" } },
  { "a file before the flags that it overrides", { "-c", "FILE", "--mtu", "1000", "--nocomp" }, { largest = 1200, compressed = true },
    file = '{"mtu": 1200, "nocomp": false}' },
  { "a file after the flags that it overrides", { "--mtu", "1000", "-c=FILE" }, { largest = 1200 }, file = '{"mtu": 1200}' },
  { "keys of a file in another case", { "-c", "FILE" }, { listens = "tcp [::]:NEAR", rcvwnd = 100, fec = false },
    file = '{"LocalAddr": ":NEAR", "RCVWND": 100, "DataShard": 0, "\u{17f}ndwnd": 20}' },
  { "keys of a file that are repeated", { "-c", "FILE" }, { rcvwnd = 200 }, file = '{"rcvwnd": 100, "RcvWnd": 200}' },
  { "nulls in a file", { "-c", "FILE", "--rcvwnd", "100" }, { rcvwnd = 100 }, file = '{"rcvwnd": null, "nocomp": null}' },
  { "an empty object in a file", { "-c", "FILE" }, {}, file = " { }\n" },
  { "something behind the object in a file", { "-c", "FILE" }, { rcvwnd = 100 }, file = '{"rcvwnd": 100}} and more' },
  { "keys in a file that are not known", { "-c", "FILE" }, { rcvwnd = 100 },
    file = '{"comment": {"a": [1, {"b": null}]}, "sndwind": "x", "listen": ":1", "QPPCount": 5, "ds": 0, "rcvwnd": 100}' },
  { "the numbers of installers in a file", { "-c", "FILE" }, {},
    file = '{"scavengettl": -1, "autoexpire": 0, "nodelay": 1, "interval": 20, "resend": 2, "nc": 1, "dscp": 46, "sockbuf": 4194304, '
      .. '"smuxbuf": 4194304, "keepalive": 10, "conn": 1, "tcp": false, "snmplog": "", "snmpperiod": 60, "log": ""}' },
}

describe("kt client does what kcptun's client does, given", function()
  after_each(h.cleanup)

  for _, case in ipairs(clear) do
    it(case[1], function()
      h.run(function()
        local want = setmetatable(case[3], { __index = USUAL })
        local seen = both(function(impl)
          local tap = h.tap.open()
          local ports = { NEAR = h.sockets.free_port "tcp", FAR = tap.port }
          local p = started(impl, "client", { file = case.file, table.unpack(case[2]) }, ports, impl == "kt" and CLEAR_KT or CLEAR)
          p:wait_tcp(ports.NEAR)
          local conn = assert(h.sockets.connect(ports.NEAR))
          h.loop.spawn(function() conn:send(NOISE, 30) end)
          local facts
          tap:wait_for("the datagrams of " .. impl, function(got)
            facts = #got > 0 and h.tap.facts(got)
            -- It has sent all that it may; on a busy machine it may send its first frame again before it gets the rest.
            return facts and facts.outstanding and facts.largest >= want.largest
          end)
          facts.listens, facts.dials = listens(p, ports), tap.got[1].at
          p:kill()
          return facts
        end)
        for _, impl in ipairs(IMPLS) do
          for _, name in ipairs { "listens", "dials", "fec", "compressed", "rcvwnd", "largest" } do
            assert.equal(want[name], seen[impl][name], impl .. ": " .. name)
          end
          assert.equal(not want.compressed and want.smux or nil, seen[impl].smux, impl .. ": smux")
          if want.outstanding then assert.equal(want.outstanding, seen[impl].outstanding, impl .. ": outstanding") end
        end
      end)
    end)
  end

  it("several sessions, used in rotation", function()
    h.run(function()
      both(function(impl)
        local tap = h.tap.open()
        local ports = { NEAR = h.sockets.free_port "tcp", FAR = tap.port }
        started(impl, "client", { "--conn", "3" }, ports, CLEAR):wait_tcp(ports.NEAR)
        for n = 1, 6 do
          local conn = assert(h.sockets.connect(ports.NEAR))
          conn:send "x"
          tap:wait_for("session " .. n, function(got)
            local from, count = {}, 0
            for _, d in ipairs(got) do
              if not from[d.from] then from[d.from], count = true, count + 1 end
            end
            assert.is_true(count <= 3)
            return count == math.min(n, 3)
          end)
        end
      end)
    end)
  end)
end)

-- ---- the key ----

-- Each case: title, arguments, the resulting key, and file or env.
local keys = {
  { "no key", {}, "it's a secrect" },
  { "a key by flag", { "--key", "s3cret" }, "s3cret" },
  { "a key that begins with a dash", { "-key", "-r" }, "-r" },
  { "an empty key", { "--key=" }, "" },
  { "$KCPTUN_KEY", {}, "from outside", env = { KCPTUN_KEY = "from outside" } },
  { "an empty $KCPTUN_KEY", {}, "", env = { KCPTUN_KEY = "" } },
  { "$KCPTUN_KEY and a flag", { "--key", "flag" }, "flag", env = { KCPTUN_KEY = "from outside" } },
  { "a key in a file, by flag and in the environment", { "--key", "flag", "-c", "FILE" }, "filed", file = '{"key": "filed"}',
    env = { KCPTUN_KEY = "from outside" } },
  { "a key in a file, in another case", { "-c", "FILE" }, "filed", file = '{"Key": "filed"}' },
  { "a key in a file, with the Kelvin sign for its k", { "-c", "FILE" }, "filed", file = '{"\u{212a}EY": "filed"}' },
  { "two keys in a file", { "-c", "FILE" }, "second", file = '{"key": "first", "KEY": "second"}' },
  { "a key in a file by escapes", { "-c", "FILE" }, "a\"\u{e9}\u{1f600}/\t", file = [[{"key": "\u0061\"\u00e9\ud83d\ude00\/\t"}]] },
  { "a key in a file that is not UTF-8", { "-c", "FILE" }, "\u{fffd}\u{fffd}x", file = '{"key": "\xe9\xffx"}' },
  { "a key in a file with half a surrogate pair", { "-c", "FILE" }, "\u{fffd}x", file = [[{"key": "\ud83dx"}]] },
  { "a null key in a file, and a flag", { "--key", "flag", "-c", "FILE" }, "flag", file = '{"key": null}' },
}

describe("kt client uses the key that kcptun's client uses, given", function()
  after_each(h.cleanup)

  for _, case in ipairs(keys) do
    it(case[1], function()
      h.run(function()
        local target = h.transfer.echo()
        local server = h.peer.server(target.at, { key = false, env = { KCPTUN_KEY = case[3] } })
        both(function(impl)
          local ports = { NEAR = h.sockets.free_port "tcp", FAR = server.port }
          local options = { file = case.file, env = case.env, table.unpack(case[2]) }
          started(impl, "client", options, ports, { "-l", "127.0.0.1:NEAR", "-r", "127.0.0.1:FAR", "--smuxver", "2" }):wait_tcp(ports.NEAR)
          local conn = assert(h.sockets.connect(ports.NEAR))
          conn:send "hello"
          assert.equal("hello", conn:recv_exactly(5))
        end)
      end)
    end)
  end
end)

-- ---- servers ----

local SERVER = { "-l", "127.0.0.1:FAR", "-t", "127.0.0.1:TARGET", "--key", "k", "--smuxver", "2" }

-- Each case: what it is, arguments, and where it listens if not as in SERVER; dial: the host at which its client finds it.
local servers = {
  { "nothing else", {} },
  { "no host to listen on", { "-l", ":FAR" }, "udp [::]:FAR" },
  { "IPv6's wildcard to listen on", { "-l=[::]:FAR" }, "udp [::]:FAR" },
  { "IPv6 in brackets to listen on", { "-l", "[::1]:FAR" }, "udp [::1]:FAR", dial = "[::1]" },
  { "a name to listen on", { "--l", "localhost:FAR" } },
  { "a target without a host", { "-t", ":TARGET" } },
  { "the wildcard for a target", { "-t=0.0.0.0:TARGET" } },
  { "a target by name", { "-t", "localhost:TARGET" } },
  { "the path of a unix socket", { "-t", "FOLDER/target" }, unix = true },
  { "a relative path of a unix socket", { "-t", "./target" }, unix = true },
  { "a file", { "-c", "FILE" }, "udp [::]:FAR", file = '{"Listen": ":FAR", "tarGet": ":TARGET", "kEy": "k", "pprof": false, "scavengettl": -1}' },
  { "odd numbers", { "-sndwnd", "0", "-mtu", "9000", "-mode", "manual", "-interval", "1", "-nc", "2", "-dscp", "64", "-sockbuf", "-1" } },
}

describe("kt server does what kcptun's server does, given", function()
  after_each(h.cleanup)

  for _, case in ipairs(servers) do
    it(case[1], function()
      h.run(function()
        both(function(impl)
          local folder, target
          if case.unix then
            folder = h.temporary_path()
            assert(os.execute("mkdir " .. folder))
            h.temporary[#h.temporary + 1] = folder .. "/target"
            h.temporary[#h.temporary + 1] = folder
          end
          target = h.transfer.echo(folder and folder .. "/target")
          local ports = { FAR = h.sockets.free_port "udp", TARGET = target.at, FOLDER = folder }
          local p = started(impl, "server", { file = case.file, cwd = folder, table.unpack(case[2]) }, ports, SERVER)
          p:wait_udp(ports.FAR)
          local client = h.peer.client(nil, { key = "k", wire = "kcptun", remoteaddr = (case.dial or "127.0.0.1") .. ":" .. ports.FAR })
          local conn = assert(h.sockets.connect(client.at))
          conn:send "hello"
          assert.equal("hello", conn:recv_exactly(5))
          ports.FOLDER, ports.FILE = nil, nil
          assert.equal(case[3] or "udp 127.0.0.1:FAR", listens(p, ports), impl)
        end)
      end)
    end)
  end
end)

-- ---- what differs on purpose ----

describe("kt deliberately differs from kcptun, given", function()
  after_each(h.cleanup)

  it("0.0.0.0 to listen on, which is IPv4 only", function()
    h.run(function()
      local seen = both(function(impl)
        local ports = { NEAR = h.sockets.free_port "tcp", FAR = h.sockets.free_port "udp" }
        return listens(started(impl, "client", { "-l", "0.0.0.0:NEAR" }, ports, CLEAR):wait_tcp(ports.NEAR), ports)
      end)
      assert.same({ kt = "tcp 0.0.0.0:NEAR", kcptun = "tcp [::]:NEAR" }, seen)
    end)
  end)

  it("no host to dial, which is 127.0.0.1", function()
    h.run(function()
      local seen = both(function(impl)
        local tap = h.tap.open()
        local ports = { NEAR = h.sockets.free_port "tcp", FAR = tap.port }
        started(impl, "client", { "-r", ":FAR" }, ports, CLEAR):wait_tcp(ports.NEAR)
        assert(h.sockets.connect(ports.NEAR)):send "x"
        return tap:wait_for("a datagram", function(got) return got[1] and got[1].at end)
      end)
      assert.same({ kt = "127.0.0.1", kcptun = "[::1]" }, seen)
    end)
  end)

  it("an mtu above 1500, which is 1500 as in later releases of kcptun", function()
    h.run(function()
      local seen = both(function(impl)
        local tap = h.tap.open()
        local ports = { NEAR = h.sockets.free_port "tcp", FAR = tap.port }
        started(impl, "client", { "--mtu", "9000" }, ports, CLEAR):wait_tcp(ports.NEAR)
        local conn = assert(h.sockets.connect(ports.NEAR))
        h.loop.spawn(function() conn:send(NOISE, 30) end)
        return tap:wait_for("full datagrams", function(got) return #got > 3 and h.tap.facts(got).largest end)
      end)
      assert.same({ kt = 1500, kcptun = 1400 }, seen)
    end)
  end)
end)

-- ---- what is refused ----

--- Whether an end starts to listen; if not, it has ended by itself and its output is the second result.
local function comes_up(impl, role, case)
  local ports = { NEAR = h.sockets.free_port "tcp", FAR = h.sockets.free_port "udp", TARGET = h.sockets.refusing() }
  local p = started(impl, role, case, ports, role == "server" and SERVER or CLEAR)
  p.graceful = false
  local up = h.loop.eventually(impl .. " to come up or to end", 10, function()
    if p.exited then return "ended" end
    return (role == "client" and h.proc.tcp_listening(ports.NEAR) or h.proc.udp_bound(ports.FAR)) and "up"
  end)
  if up == "up" then return true end
  p:wait_exit()
  return false, p.stdout .. p.stderr, p.code
end

-- Settings that neither accepts: title, role, arguments, kt's error (patterns).
local refused_by_both = {
  { "a number that is none", "client", { "--mtu", "1350.0" }, { "%-%-mtu", "integer", "1350%.0" } },
  { "a boolean that is none", "client", { "--nocomp=yes" }, { "%-%-nocomp", "true or false", "yes" } },
  { "a flag without its value", "client", { "--mtu" }, { "%-%-mtu: expected a value" } },
  { "a flag that is not known", "client", { "--Key", "k" }, { "%-%-Key: unknown flag; did you mean %-%-key%?" } },
  { "a client's flag", "server", { "--conn", "2" }, { "%-%-conn: unknown flag" } },
  { "a version of smux that does not exist", "client", { "--smuxver", "3" }, { "%-%-smuxver", "1 to 2" } },
  { "a number in quotes in a file", "client", { "-c", "FILE" }, { "line 2, column 9: mtu: expected an integer, got the string \"1350\"" },
    file = '{\n "mtu": "1350"}' },
  { "a fraction in a file", "client", { "-c", "FILE" }, { "mtu: expected an integer, got 1350%.0" }, file = '{"mtu": 1350.0}' },
  { "a boolean in quotes in a file", "client", { "-c", "FILE" }, { "nocomp: expected true or false, got the string" }, file = '{"nocomp": "true"}' },
  { "a number for a key in a file", "server", { "-c", "FILE" }, { "key: expected a string in quotes, got a number" }, file = '{"key": 31415926}' },
  { "an array in a file", "client", { "-c", "FILE" }, { "line 1, column 1: expected an object of settings, got an array" }, file = '[{"key": "k"}]' },
  { "an empty file", "client", { "-c", "FILE" }, { "the file is empty" }, file = "" },
  { "a comma too many in a file", "client", { "-c", "FILE" }, { "line 3, column 1: not valid JSON: expected a value after ','" },
    file = '{\n  "mtu": 1350,\n}' },
}

-- Settings that kcptun accepts and kt refuses: title, role, arguments, kt's error (patterns). The reasons are in docs/kcptun.md.
local refused_by_kt = {
  { "a cipher that is not known", "client", { "--crypt", "aes-256" }, { "%-%-crypt", 'did you mean "aes"%?', "kcptun silently uses aes" } },
  { "a mode that is not known", "server", { "--mode", "Fast3" }, { "%-%-mode", 'did you mean "fast3"%?', "kcptun silently uses manual" } },
  { "no session at all", "client", { "--conn", "0" }, { "%-%-conn", "1 to 1024" } }, -- kcptun panics at the first connection
  { "a heartbeat of 0", "client", { "--keepalive", "0" }, { "%-%-keepalive", "1 to 30" } }, -- ... ends at the first connection
  { "a group of FEC that is too large", "client", { "--ds", "200", "--ps", "100" }, { "255" } }, -- ... sends without FEC
  { "a word that is not a flag", "client", { "--quiet", "true", "--key", "k" }, { '"true" after %-%-quiet: write %-%-quiet=true' } },
  { "a target that may be a path or lack its port", "server", { "-t", "8388" }, { "8388", "missing port" } },
  { "what looks like a key in a file", "client", { "-c", "FILE" }, { "line 1, column 2", "password", "default" }, file = '{"password": "x"}' },
  { "a null key in a file", "client", { "-c", "FILE" }, { "key is null", "default" }, file = '{"key": null}' },
}

describe("kt explains what is wrong with", function()
  after_each(h.cleanup)

  for _, group in ipairs { { refused_by_both, false }, { refused_by_kt, true } } do
    local takes = group[2]
    for _, case in ipairs(group[1]) do
      it(case[1] .. (takes and ", which kcptun takes" or ", and kcptun does not take it"), function()
        h.run(function()
          local options = { file = case.file, table.unpack(case[3]) }
          both(function(impl)
            local up, said, code = comes_up(impl, case[2], options)
            if impl == "kcptun" then return assert.equal(takes, up, said) end
            assert.is_false(up)
            assert.equal(1, code)
            for _, pattern in ipairs(case[4]) do assert.matches(pattern, said) end
            assert.is_nil(said:find("31415926", 1, true), "it shows the key")
          end)
        end)
      end)
    end
  end
end)
