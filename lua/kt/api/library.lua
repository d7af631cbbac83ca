--- Lua's own functions and metamethods that call a function of the script, for `kt check`: those that call it from C, where it cannot wait.
--- place: which argument it is. passes: it gets the arguments that follow. elements: it gets those of the list that is the first one.
return {
  functions = {
    ["table.sort"] = { place = 2, waits = false, elements = true, what = "a function passed to table.sort" },
    ["string.gsub"] = { place = 3, waits = false, what = "a function passed to string.gsub" },
    ["load"] = { place = 1, waits = false, what = "a function passed to load" },
    ["xpcall"] = { place = 2, waits = false, what = "a message handler of xpcall" },
    ["coroutine.wrap"] = { place = 1, waits = false, what = "a coroutine created by the script" },
    ["coroutine.create"] = { place = 1, waits = false, what = "a coroutine created by the script" },
    ["pcall"] = { place = 1, waits = true, passes = true },
  },
  -- By the name of the key: the metamethods that C calls.
  metamethods = { __gc = "__gc", __tostring = "__tostring" },
}
