# Hardening that costs next to nothing: guards on the stack, checked libc calls, indirect branches that land only where they
# may, and relocations that are read-only before main. kt_harden(TARGET) adds what the compiler and the linker know.
# scripts/check-hardening looks for it in the binary.
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
  # Only where there is an optimiser to see the sizes, and no sanitizer that checks the same calls.
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
