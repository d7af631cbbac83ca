# Finds the dependencies with pkg-config. Each is a Debian package; the error for a missing one names the package.
find_program(KT_PKG_CONFIG pkg-config)
if(NOT KT_PKG_CONFIG)
  message(FATAL_ERROR "pkg-config is missing: apt-get install pkg-config")
endif()
find_package(PkgConfig REQUIRED)

function(kt_need target module package)
  pkg_check_modules(${target} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "${module} is missing: apt-get install ${package}")
  endif()
endfunction()

kt_need(LUA "lua5.4>=5.4.4" liblua5.4-dev)
kt_need(UV "libuv>=1.44" libuv1-dev)
kt_need(CARES "libcares>=1.17" libc-ares-dev)
kt_need(SODIUM "libsodium>=1.0.18" libsodium-dev)
kt_need(GCRYPT "libgcrypt>=1.10" libgcrypt20-dev)
kt_need(ISAL "libisal" libisal-dev)
kt_need(SNAPPY "snappy" libsnappy-dev)
kt_need(CJSON "libcjson>=1.7.14" libcjson-dev)

# It has no pkg-config file.
find_library(KT_HTTP_PARSER http_parser)
find_path(KT_HTTP_PARSER_INCLUDE http_parser.h)
if(NOT KT_HTTP_PARSER OR NOT KT_HTTP_PARSER_INCLUDE)
  message(FATAL_ERROR "libhttp_parser is missing: apt-get install libhttp-parser-dev")
endif()

# Charts of the status page. Without it the page draws simple ones.
find_file(KT_DYGRAPHS_JS dygraph.min.js PATHS /usr/share/javascript/dygraphs NO_DEFAULT_PATH)
find_file(KT_DYGRAPHS_CSS dygraph.min.css PATHS /usr/share/javascript/dygraphs NO_DEFAULT_PATH)
if(KT_DYGRAPHS_JS AND KT_DYGRAPHS_CSS)
  set(KT_DYGRAPHS ${KT_DYGRAPHS_JS} ${KT_DYGRAPHS_CSS})
else()
  set(KT_DYGRAPHS "")
  message(STATUS "Not found: dygraphs; the status page will draw simple charts (apt-get install libjs-dygraphs)")
endif()
