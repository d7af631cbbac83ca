-- A tunnel on kt's own wire in virtual time, in which an allocation fails: each in turn, in the handshake, streams, flows and at the end.
local run = require "spec_native_memory"

describe("a tunnel in which an allocation fails", function()
  local whole = run(0)

  it("has enough of them, and carries everything if none fails", function()
    assert.is_true(whole.allocations > 40, whole.allocations)
    assert.same({ 8000, 4, true, 0 }, { whole.echoed, whole.answered, whole.up, whole.kept })
  end)

  it("keeps no memory, and carries a further stream unless the link could not be made at all", function()
    local made = 0
    for n = 1, whole.allocations do
      local t = run(n)
      assert.equal(0, t.kept, n)
      if t.allocations > n or n == whole.allocations then
        made = made + 1
        assert.is_true(t.up, n)
      end
    end
    assert.is_true(made > whole.allocations - 10, made)
  end)

  it("loses no byte of what it does carry: an echo is whole, or its stream is broken", function()
    for n = 1, whole.allocations do assert.equal(0, run(n).echoed % 2000, n) end
  end)
end)
