-- kt.kcp against servers that others wrote: a script speaks smux over KCP with Debian's kcptun, whose cipher "none" puts a nonce and a
-- CRC before each packet, and with kt's own server, whose "null" puts nothing there.
local h = require "harness"
local scripts = require "harness.scripts"

-- Opens a smux stream (version 1), sends SIZE bytes to the echo behind the server, and prints whether they came back.
local CLIENT = [[
local crc = {}
for i = 0, 255 do
  local c = i
  for _ = 1, 8 do c = c & 1 == 1 and c >> 1 ~ 0xedb88320 or c >> 1 end
  crc[i] = c
end
local function crc32(text)
  local c = 0xffffffff
  for i = 1, #text do c = crc[(c ~ text:byte(i)) & 255] ~ c >> 8 end
  return ~c & 0xffffffff
end
local framing = {
  none = {
    seal = function(p) return kt.crypto.random(16) .. string.pack("<I4", crc32(p)) .. p end,
    open = function(d) return #d > 20 and string.unpack("<I4", d, 17) == crc32(d:sub(21)) and d:sub(21) end,
  },
  null = { seal = function(p) return p end, open = function(d) return d end },
}
local crypt = framing["CRYPT"]

kt.spawn(function()
  local socket = assert(kt.udp { to = "127.0.0.1:PORT" })
  local talk = assert(kt.kcp { conv = 0x01020304, stream = true, mode = "fast3", mtu = 1350,
    output = function(p) socket:send(crypt.seal(p)) end })
  kt.spawn(function()
    for data in function() return (socket:receive { timeout = "30s" }) end do
      local packet = crypt.open(data)
      if packet then assert(talk:input(packet)) end
    end
  end)
  local function frame(command, text) return string.pack("<BBI2I4", 1, command, #text, 3) .. text end
  assert(talk:send(frame(0, "")))
  local lines = {}
  for i = 1, SIZE // 10 do lines[i] = ("%09d\n"):format(i) end
  local text = table.concat(lines)
  kt.spawn(function()
    for i = 1, #text, 4000 do assert(talk:send(frame(2, text:sub(i, i + 3999)))) end
  end)
  local got, rest = {}, ""
  local n = 0
  while n < #text do
    rest = rest .. assert(talk:recv { timeout = "30s" })
    while #rest >= 8 do
      local version, command, length, stream = string.unpack("<BBI2I4", rest)
      assert(version == 1)
      if #rest < 8 + length then break end
      if command == 2 and stream == 3 then
        got[#got + 1] = rest:sub(9, 8 + length)
        n = n + length
      end
      rest = rest:sub(9 + length)
    end
  end
  print(table.concat(got) == text, talk:flush(), talk:stats().refused)
end)]]

describe("kt.kcp", function()
  local s = scripts.each(before_each, after_each)

  for impl, crypt in pairs { kcptun = "none", kt = "null" } do
    it("speaks KCP with a server of " .. impl, function()
      h.run(function()
        local echo = h.transfer.echo()
        local server = h.peer.server(echo.at, { impl = impl, crypt = crypt, nocomp = true, datashard = 0, parityshard = 0, smuxver = 1,
          mode = "fast3", wire = impl == "kt" and "kcptun" or nil })
        local size = h.light and 50000 or 300000
        local code, out, err = s.run("%s", (CLIENT:gsub("%u%u%u+", { CRYPT = crypt, PORT = server.port, SIZE = size })))
        assert.equal("true\ttrue\t0\n", out, err)
        assert.equal(0, code, err)
      end)
    end)
  end
end)
