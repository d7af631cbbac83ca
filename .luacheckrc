std = "lua54"
max_line_length = 160
files["spec"] = { std = "+busted" }
files["scripts/examples/spec"] = { std = "+busted" }
files["bench/sim.lua"] = { std = "+busted" }
files["bench/auto.lua"] = { std = "+busted" }
files["bench/parity.lua"] = { std = "+busted" }
files["spec/crypto/seal_spec.lua"] = { std = "+busted", max_line_length = false } -- test vectors
exclude_files = { "build*/", "spec/fixtures", "lua/meta" }
