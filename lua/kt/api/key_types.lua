--- The types of keys and parameters that have names of their own, for the type definitions, the reference, `kt help` and `kt check`.
--- kt.schema says what the others are (boolean, integer, enum, list, ...); schema.types has a function for each, which checks values.
---
---   lua     the values that a script may give, as a type of the API: "string | secret"
---   alias   the name by which the type definitions call these
---   words   what a person calls these; without it, the name of the type
local unit = "string | number"

return {
  client = { lua = "string | conn | stream", words = "conn, stream or address" },
  duration = { lua = unit, alias = "kt.duration" },
  endpoint = { lua = "string", words = "address" },
  endpoints = { lua = "string | string[]", words = "address or list of addresses" },
  flag = { lua = "boolean | number", alias = "boolean", words = "boolean" },
  headers = { lua = "table<string, string|number|string[]>", words = "table of strings by name" },
  host = { lua = "host | string", words = "host or its name" },
  interface = { lua = "string", words = "IP address or interface" },
  ip = { lua = "string", words = "IP address" },
  keys = { lua = "table<string, string>", words = "table of strings by name" },
  map = { lua = "table<string, string|number>", words = "table of strings by name" },
  moment = { lua = unit, alias = "kt.sim.moment" },
  name = { lua = "string" },
  name_server = { lua = "string", words = "IP address" },
  opener = { lua = "link | pool", words = "link or pool" },
  pipe = { lua = "conn | stream", words = "conn or stream" },
  prefix = { lua = "string", words = "IP address or network" },
  rate = { lua = unit, alias = "kt.rate" },
  routes = { lua = "table<string, function|table>", words = "table" },
  secret = { lua = "string | secret", words = "string or secret" },
  share = { lua = unit, alias = "kt.share" },
  shift = { lua = unit },
  size = { lua = unit, alias = "kt.size" },
  strings = { lua = "string | string[]", words = "string or list of strings" },
  url = { lua = "string", words = "URL" },
}
