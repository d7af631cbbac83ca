# Hardening at almost no cost: stack protector, stack clash protection, checked libc calls, indirect branch tracking, and relocations
# that are read-only before main. kt_harden(TARGET) adds what the compiler and the linker support.
# scripts/check-hardening checks the binary.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

function(kt_harden target)
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard)
    string(MAKE_C_IDENTIFIER "KT_HAS${flag}" known)
    check_c_compiler_flag("-Werror ${flag}" ${known})
    if(${known})
      target_compile_options(${target} INTERFACE ${flag})
    endif()
  endforeach()
  # Only in optimised builds, where sizes are known, and without a sanitizer, which checks the same calls.
  if(NOT KT_SANITIZE)
    target_compile_options(${target} INTERFACE $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
      $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=3>)
  endif()
  foreach(flag relro now noexecstack separate-code)
    check_linker_flag(C "LINKER:-z,${flag}" KT_HAS_Z_${flag})
    if(KT_HAS_Z_${flag})
      target_link_options(${target} INTERFACE "LINKER:-z,${flag}")
    endif()
  endforeach()
endfunction()
