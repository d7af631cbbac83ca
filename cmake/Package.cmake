# `cpack -G DEB` in a build folder makes kt_VERSION_ARCH.deb from that build. packaging/ has what only a package installs; PackageFiles.cmake
# puts it in place.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME kt)
set(CPACK_PACKAGE_CONTACT "kt developers <kt@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "scriptable tunnels for TCP and UDP over lossy UDP paths")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "kt carries TCP and UDP over lossy, long, changing UDP paths. What a tunnel
does is decided by a Lua script, which can be tested in virtual time, or by
the flags of kt client and kt server, which also speak kcptun's wire.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/PackageFiles.cmake)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT) # kt_VERSION_ARCH.deb
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "apparmor, lua-busted, systemd")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  "${PROJECT_SOURCE_DIR}/packaging/debian/postinst;${PROJECT_SOURCE_DIR}/packaging/debian/prerm;${PROJECT_SOURCE_DIR}/packaging/debian/postrm;${PROJECT_SOURCE_DIR}/packaging/debian/conffiles")
include(CPack)
