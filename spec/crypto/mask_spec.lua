-- runtime/crypto/mask: the masks of kt's own wire, with vectors of their standards.
local crypto = require "spec_noise"
local bytes = require "bytes"
local hex, unhex, range = bytes.hex, bytes.unhex, bytes.range

describe("a mask", function()
  it("is SipHash-2-4 with 128 bits of output", function()
    -- vectors.h of the authors' implementation, 16 bytes of input
    assert.equal("6ee2a4ca67b054bbfd3315bf85230577", hex(crypto.mask(range(0, 15), range(0, 15))))
    -- by an implementation of the paper in Python, which tells the key from the sample
    assert.equal("e9d0287d105dd852be33e98f0dff31ae", hex(crypto.mask(range(0x80, 0x8f), range(0xf0, 0xff))))
  end)

  it("of any length is ChaCha20's stream", function() -- RFC 8439 section 2.4.2
    local text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    local sample = unhex "01000000" .. unhex "000000000000004a00000000"
    local masked = crypto.mask_stream(range(0, 31), sample, text)
    assert.equal("6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f08"
      .. "61d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d", hex(masked))
    assert.equal(text, crypto.mask_stream(range(0, 31), sample, masked))
  end)
end)
