-- The bugs of spec/sweep/plants, which scripts/sweep plants to see that the sweep finds them.

describe("each planted bug", function()
  it("applies to the sources", function()
    local count = 0
    for path in io.popen "ls spec/sweep/plants/*.patch":lines() do
      count = count + 1
      local pipe = io.popen(("patch -p1 --dry-run < %s 2>&1"):format(path))
      local said = pipe:read "a"
      assert.is_true(pipe:close(), path .. ": " .. said)
    end
    assert.is_true(count >= 5)
  end)
end)
