-- A gate for clients with a valid token, and a command that makes tokens.
--     kt run token-gate.lua                    -- the gate: clients connect to port 8443
--     kt run token-gate.lua issue alice 30d    -- prints a token for alice that holds for 30 days
-- A client sends its token as the first line: base64url of a MAC, its name, and the time when the token ends. The gate keeps no
-- list of clients: the token has all that it needs, and only the key makes a valid one.
local kt = require "kt"

local crypto = kt.crypto
local key = crypto.derive(crypto.hash("blake2b", kt.secret_file "psk.key"), "token gate")

local function mac(text) return crypto.hmac("sha256", key, text) end

local function issue(name, lifetime)
  local text = ("%s %.0f"):format(name, kt.wall() + assert(kt.duration(lifetime)))
  return crypto.base64_encode(mac(text) .. text, "url")
end

--- The name in a token, or nil and why not.
local function admit(token)
  local bytes = crypto.base64_decode(token, "url")
  if not bytes or #bytes < 32 then return nil, "not a token" end
  local text = bytes:sub(33)
  if not crypto.equal(bytes:sub(1, 32), mac(text)) then return nil, "false token" end
  local name, ends = text:match "^(%S+) (%d+)$"
  if not name then return nil, "malformed token" end
  if kt.wall() >= tonumber(ends) then return nil, ("%s's token has ended"):format(name) end
  return name
end

local function gate(conn)
  local line, err = conn:read_until("\n", 512, { timeout = "5s" })
  if not line then return conn:reset(err) end
  local name, why = admit(line:sub(1, -2))
  if not name then
    kt.log.warn("%s: %s", conn.peer, why)
    return conn:reset "denied"
  end
  local target, failed = kt.connect { to = "127.0.0.1:8080", timeout = "5s" }
  if not target then return conn:reset(failed) end
  kt.log.info("%s: %s", conn.peer, name)
  kt.splice(conn, target)
end

local what, name, lifetime = ...
if what == "issue" then
  assert(name, "usage: kt run token-gate.lua issue NAME LIFETIME")
  kt.spawn(function() print(issue(name, lifetime or "30d")) end)
else
  kt.listen { on = ":8443" }:serve(gate)
end
