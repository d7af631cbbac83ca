-- The work that a peer with the key can cause an acceptor in one turn of its loop, on kt's own wire.
local flood = require "spec_native_flood"

-- docs/wire.md, section 6
local FRAMES = {
  ["PING"] = "\x01",
  ["BLOCKED of a stream"] = "\x13\x01\x00",
  ["RESET of a stream"] = "\x0c\x01\x00\x05\x00",
  ["DATA of a byte"] = "\x0a\x01\x00\x01x",
}
local PACKET = 1150 -- bytes of frames at least, and 1,200 at most

describe("a peer that sends packets full of tiny frames", function()
  for name, frame in pairs(FRAMES) do
    it("has some 16,384 of them taken in a turn of the loop, while others have theirs: " .. name, function()
      local r = flood(frame, 400)
      assert.equal(400, r.taken + r.shed)
      assert.is_true(r.taken * (PACKET // #frame) <= 16384 + PACKET // #frame, r.taken)
      assert.is_true(r.taken * (1200 // #frame) >= 16384, r.taken)
      assert.is_true(r.later)
      assert.equal(2000, r.echoed)
    end)
  end

  it("loses none of as many as an honest one sends", function()
    local r = flood("\x0a\x01\x00\x40\x64" .. ("x"):rep(100), 400)
    assert.same({ 400, 0 }, { r.taken, r.shed })
  end)
end)
