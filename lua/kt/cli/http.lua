--- kt run --http ADDR --http-token FILE: calls kt.http.status for the script, after its main chunk.
local kt = require "kt"

--- flags: the names of the two, for messages
return function(on, token_file, flags)
  flags = flags or { on = "--http", token = "--http-token" }
  local read, token = true, nil
  if token_file then read, token = pcall(kt.secret_file, token_file) end
  if not read then error(("%s: %s"):format(flags.token, tostring(token)), 0) end
  local ok, wrong = pcall(kt.http.status, { on = on, token = token })
  if not ok then error((tostring(wrong):gsub("http%.status%.(%a+)", flags)), 0) end
end
