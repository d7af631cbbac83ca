-- The captures of `kt test --trace` and `kt trace`: read back by tcpdump and tshark, independent readers.
package.path = "./lua/?.lua;" .. package.path
local pcapng = require "kt.sim.pcapng"

-- The output of tcpdump (verifying checksums), or of another command, for a capture: a line for each packet.
local function read_back(fill, command)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  fill(pcapng.writer(function(bytes) assert(file:write(bytes)) end))
  assert(file:close())
  local pipe = assert(io.popen((command or "tcpdump -n -vvv -tt -r %s 2>&1"):format(path)))
  local text = pipe:read "a"
  pipe:close()
  os.remove(path)
  return text
end

describe("a capture", function()
  it("shows a datagram's addresses, ports, length and time", function()
    local text = read_back(function(capture)
      local wire = capture:interface "client > server"
      capture:packet { at = 61500000, interface = wire, from = "10.0.0.1:40000", to = "10.0.0.2:29900", data = "hello" }
    end)
    assert.matches("61.500000 IP", text, 1, true)
    assert.matches("10.0.0.1.40000 > 10.0.0.2.29900", text, 1, true)
    assert.matches("UDP, length 5", text, 1, true)
  end)

  it("has correct checksums, for payloads of even and of odd length", function()
    local text = read_back(function(capture)
      local wire = capture:interface "a > b"
      for length = 0, 33 do
        capture:packet { at = length, interface = wire, from = "192.168.7.1:1", to = "10.9.8.7:65535", data = ("\xff"):rep(length) }
      end
    end)
    local _, good = text:gsub("%[udp sum ok%]", "")
    assert.equal(34, good)
    assert.is_nil(text:find("bad", 1, true))
  end)

  it("shows IPv6 as IPv6, with a correct checksum", function()
    local text = read_back(function(capture)
      local wire = capture:interface "a > b"
      capture:packet { at = 0, interface = wire, from = "[fd00::1]:7", to = "[fd00:0:0:1::2]:8", data = "abc" }
    end)
    assert.matches("fd00::1.7 > fd00:0:0:1::2.8: [udp sum ok]", text, 1, true)
  end)

  it("keeps times beyond 2^32 microseconds", function()
    local text = read_back(function(capture)
      local wire = capture:interface "a > b"
      capture:packet { at = 7200 * 1000000, interface = wire, from = "10.0.0.1:1", to = "10.0.0.2:2", data = "" }
    end)
    assert.matches("7200.000000 IP", text, 1, true)
  end)

  it("is read by tshark, with names of interfaces, comments, and statistics at the end", function()
    if not os.execute "command -v tshark >/dev/null" then return pending "tshark is not installed" end
    local text = read_back(function(capture)
      local sent, received = capture:interface "kt out", capture:interface "kt in"
      capture:packet { at = 1500000, interface = sent, from = "10.0.0.1:40000", to = "10.0.0.2:29900", data = "ping" }
      capture:packet { at = 1600000, interface = received, from = "[fd00::2]:29900", to = "[fd00::1]:40000", data = "pong", note = "3 packets are missing" }
      capture:statistics(received, 1700000, 3)
      capture:statistics(sent, 1700000, 1 << 33)
    end, "tshark -r %s -o udp.check_checksum:TRUE -T fields -E separator=, -e frame.interface_name -e frame.time_epoch -e udp.srcport "
      .. "-e udp.checksum.status -e udp.payload -e frame.comment 2>&1 | grep -v 'as user'")
    assert.equal("kt out,1.500000000,40000,1,70696e67,\nkt in,1.600000000,29900,1,706f6e67,3 packets are missing\n", text)
  end)

  it("carries a packet's fate as its comment", function()
    local bytes = {}
    local capture = pcapng.writer(function(piece) bytes[#bytes + 1] = piece end)
    capture:packet { at = 0, interface = capture:interface "a > b", from = "10.0.0.1:1", to = "10.0.0.2:2", data = "x", note = "lost: burst" }
    assert.matches(string.pack("<I2s2", 1, "lost: burst") .. "\0\0\0\0\0", bytes[3], 1, true)
  end)

  it("refuses an invalid address", function()
    local capture = pcapng.writer(function() end)
    local wire = capture:interface "a > b"
    assert.has_error(function()
      capture:packet { at = 0, interface = wire, from = "nowhere", to = "10.0.0.2:2", data = "" }
    end, "not an address: nowhere")
  end)
end)
