# find_package(halo) gives halo::halo (shared) and halo::halo_static, each where its library is there.
get_filename_component(_halo_root "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(EXISTS "${_halo_root}/lib/@SONAME@" AND NOT TARGET halo::halo)
  add_library(halo::halo SHARED IMPORTED)
  set_target_properties(halo::halo PROPERTIES
    IMPORTED_LOCATION "${_halo_root}/lib/@SONAME@"
    IMPORTED_SONAME "@SONAME@"
    INTERFACE_INCLUDE_DIRECTORIES "${_halo_root}/include")
endif()

if(EXISTS "${_halo_root}/lib/libhalo.a" AND NOT TARGET halo::halo_static)
  set(THREADS_PREFER_PTHREAD_FLAG ON)
  find_package(Threads REQUIRED)
  add_library(halo::halo_static STATIC IMPORTED)
  set_target_properties(halo::halo_static PROPERTIES
    IMPORTED_LOCATION "${_halo_root}/lib/libhalo.a"
    INTERFACE_COMPILE_DEFINITIONS HALO_STATIC
    INTERFACE_INCLUDE_DIRECTORIES "${_halo_root}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;@NATIVE_LIBRARIES@")
endif()

unset(_halo_root)
