-- Starts `kt client` and `kt server`, as its first argument says.
local common = require "kt.cli.common"
local side = ...

common.main(side, { select(2, ...) }, require("kt.cli." .. side))
