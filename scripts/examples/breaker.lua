-- A circuit breaker: a target that keeps failing is left alone, and its clients are refused at once.
--     kt run breaker.lua     -- far
--     kt run client.lua      -- near
-- Without it, each client of a target that has hung waits for the timeout, and the target is flooded when it comes back. After FAILURES
-- in a row nobody connects for PAUSE. Then one client tries; if that succeeds, all may connect again.
local kt = require "kt"

local TARGET = "127.0.0.1:8388"
local FAILURES, PAUSE = 5, kt.duration "10s"

local failed = 0 -- in a row
local again = 0 -- when the next client may try

local function connect()
  local open = failed >= FAILURES
  if open and kt.now() < again then
    return nil, kt.err { code = "refused", message = TARGET .. " has failed too often and is left alone for now" }
  end
  again = kt.now() + PAUSE -- counts while it is open: the others wait for the outcome
  local conn, err = kt.connect { to = TARGET, timeout = "2s" }
  if conn then
    if open then kt.log.info("%s answers again", TARGET) end
    failed = 0
    return conn
  end
  failed = failed + 1
  if failed == FAILURES then kt.log.warn("%s has failed %d times in a row: %s", TARGET, failed, err) end
  return nil, err
end

kt.accept { on = ":29900", key = kt.secret_file "psk.key" }:serve(function(stream)
  local conn, err = connect()
  if not conn then return stream:reset(err) end
  kt.splice(stream, conn)
end)
