-- Tunnel ends, kt or Debian's kcptun, from one set of options, so that one spec body serves every pairing.
--
-- Options are kcptun's flags by their long names (crypt = "aes", nocomp = true, datashard = 20 …). smuxver is always
-- passed, because the default of Debian's kcptun differs from the current one.
local process = require "harness.process"
local sockets = require "harness.sockets"

local peer = {}

--- The ciphers of Debian 12's kcptun.
peer.debian_ciphers = {
  "aes", "aes-128", "aes-192", "salsa20", "blowfish", "twofish", "cast5", "3des", "tea", "xtea", "xor", "sm4", "none",
}

peer.kt = os.getenv("KT_BIN") or "build/kt"

local function program(impl, role)
  if impl == "kt" then return { peer.kt, role } end
  assert(impl == "kcptun", impl)
  return { "kcptun-" .. role }
end

local NOT_FLAGS = { impl = true, env = true }

--- The command line of `options.impl` in `role`, with `options` as flags, in a fixed order.
function peer.command(role, options)
  local cmd = program(options.impl or "kt", role)
  local names = {}
  for name in pairs(options) do
    if not NOT_FLAGS[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = options[name]
    if value then cmd[#cmd + 1] = (#name == 1 and "-" or "--") .. name end
    if value and value ~= true then
      cmd[#cmd + 1] = math.type(value) == "integer" and ("%d"):format(value) or tostring(value)
    end
  end
  return cmd
end

local function merged(...)
  local all = { smuxver = 2 }
  for _, options in ipairs { ... } do
    for name, value in pairs(options) do all[name] = value end
  end
  return all
end

local function address(where)
  if type(where) == "string" then return where end
  return "127.0.0.1:" .. where
end

--- Runs kt with arguments that make it end by itself; returns its output and exit code.
function peer.say(...)
  local p = process.start { name = "kt", cmd = { peer.kt, ... } }
  local code = p:wait_exit(10)
  return p.stdout .. p.stderr, code
end

--- Starts a server on UDP `port` (a free one by default) that connects to `target`, a port or a path.
function peer.server(target, options)
  options = merged(options or {})
  local port = options.port or sockets.free_port("udp")
  options.port = nil
  options.listen = options.listen or "127.0.0.1:" .. port
  options.target = address(target)
  local server = process.start {
    name = (options.impl or "kt") .. " server", cmd = peer.command("server", options), env = options.env,
    graceful = options.impl ~= "kcptun",
  }
  server.port = port
  return server:wait_udp(port)
end

--- Starts a client on TCP port or path `options.at` (a free port by default) that dials the UDP port `remote`, or
--- options.remoteaddr.
function peer.client(remote, options)
  options = merged(options or {})
  local at = options.at or sockets.free_port("tcp")
  options.at = nil
  options.localaddr = address(at)
  options.remoteaddr = options.remoteaddr or address(remote)
  local client = process.start {
    name = (options.impl or "kt") .. " client", cmd = peer.command("client", options), env = options.env,
    graceful = options.impl ~= "kcptun",
  }
  client.at = at
  return type(at) == "string" and client:wait_unix(at) or client:wait_tcp(at)
end

--- Starts both ends, to `target`. both, client, server: options. through(port) may return a port for the client to dial instead of the
--- server's, such as a relay's. Returns client and server; the near end is client.at.
function peer.tunnel(target, both, only)
  only = only or {}
  local server = peer.server(target, merged(both or {}, only.server or {}))
  local dial = only.through and only.through(server.port) or server.port
  local client = peer.client(dial, merged(both or {}, only.client or {}))
  return client, server
end

return peer
