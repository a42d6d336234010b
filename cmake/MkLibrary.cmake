# SPDX-License-Identifier: Apache-2.0
# The library: shared, static, and with the mock engine for tests.

file(GLOB_RECURSE MK_SOURCES CONFIGURE_DEPENDS
	"${PROJECT_SOURCE_DIR}/src/*.c")
file(GLOB_RECURSE MK_MOCK_SOURCES CONFIGURE_DEPENDS
	"${PROJECT_SOURCE_DIR}/src/engine/mock/*.c")
file(GLOB MK_HANDLER_SOURCES CONFIGURE_DEPENDS
	"${PROJECT_SOURCE_DIR}/handlers/*.c")
list(FILTER MK_SOURCES EXCLUDE REGEX "/src/engine/mock/")
list(FILTER MK_SOURCES EXCLUDE REGEX "/src/io/") # MkIo.cmake
list(FILTER MK_SOURCES EXCLUDE REGEX "/src/worker/main\\.c$")

set(MK_WORKER_INSTALL_PATH
	"${CMAKE_INSTALL_FULL_LIBEXECDIR}/megakernel/megakernel-worker")
set(MK_INCLUDE_INSTALL_DIR "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
# A build without tests is one to install: no path of this tree in it.
if(BUILD_TESTING)
	set(MK_INCLUDE_BUILD_DIR "${PROJECT_SOURCE_DIR}/include")
else()
	set(MK_INCLUDE_BUILD_DIR "")
endif()

# What every file of ours is compiled with.
add_library(mk_flags INTERFACE)
target_include_directories(mk_flags INTERFACE
	"${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
target_include_directories(mk_flags SYSTEM INTERFACE ${MK_XXHASH_INCLUDE})
target_compile_definitions(mk_flags INTERFACE _GNU_SOURCE
	MK_WORKER_INSTALL_PATH="${MK_WORKER_INSTALL_PATH}"
	MK_INCLUDE_INSTALL_DIR="${MK_INCLUDE_INSTALL_DIR}"
	MK_INCLUDE_BUILD_DIR="${MK_INCLUDE_BUILD_DIR}")
target_link_libraries(mk_flags INTERFACE Threads::Threads ${CMAKE_DL_LIBS})

set(MK_HANDLER_OBJECTS "")
if(MK_HANDLER_SOURCES)
	add_library(mk_handlers OBJECT ${MK_HANDLER_SOURCES})
	target_link_libraries(mk_handlers PRIVATE mk_flags)
	# a section of their own: src/module/builtin.h
	target_compile_definitions(mk_handlers PRIVATE
		MK_HANDLER_SECTION="mk_builtins")
	set(MK_HANDLER_OBJECTS $<TARGET_OBJECTS:mk_handlers>)
endif()
include(MkCuda)
add_library(mk_core OBJECT ${MK_SOURCES})
add_dependencies(mk_core mk_embedded)
target_link_libraries(mk_core PRIVATE mk_flags)
set(MK_OBJECTS $<TARGET_OBJECTS:mk_core> ${MK_HANDLER_OBJECTS})

# Shared: what leaves it is what MK_API marks and the map names.
set(MK_MAP "${PROJECT_SOURCE_DIR}/src/libmegakernel.map")
add_library(mk_shared SHARED ${MK_OBJECTS})
set_target_properties(mk_shared PROPERTIES OUTPUT_NAME megakernel
	LINKER_LANGUAGE C LINK_DEPENDS "${MK_MAP}"
	VERSION ${PROJECT_VERSION} SOVERSION ${MK_SOVERSION})
target_link_libraries(mk_shared PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
target_link_options(mk_shared PRIVATE "-Wl,--version-script=${MK_MAP}")
if(NOT MK_SANITIZE AND NOT MK_FUZZ)
	target_link_options(mk_shared PRIVATE -Wl,--no-undefined)
endif()
target_include_directories(mk_shared INTERFACE
	"${PROJECT_SOURCE_DIR}/include")

# Static: one object, so that no handler is left out (nothing refers to it by
# name) and hidden names stay the library's own.
set(MK_ONE "${CMAKE_BINARY_DIR}/lib/megakernel.o")
add_custom_command(OUTPUT "${MK_ONE}"
	COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/lib"
	COMMAND ${CMAKE_LINKER} -r -o "${MK_ONE}" ${MK_OBJECTS}
	COMMAND ${CMAKE_OBJCOPY} --localize-hidden "${MK_ONE}"
	DEPENDS ${MK_OBJECTS}
	COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties("${MK_ONE}" PROPERTIES EXTERNAL_OBJECT TRUE)
add_library(mk_static STATIC "${MK_ONE}")
add_dependencies(mk_static mk_core)
if(MK_HANDLER_SOURCES)
	add_dependencies(mk_static mk_handlers)
endif()
set_target_properties(mk_static PROPERTIES OUTPUT_NAME megakernel
	LINKER_LANGUAGE C)
target_link_libraries(mk_static PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
target_include_directories(mk_static INTERFACE
	"${PROJECT_SOURCE_DIR}/include")

# Internal: every name visible, the mock engine in. Never installed. An
# archive, so that a test of one file needs no more than that file.
if(BUILD_TESTING)
	add_library(mk_internal STATIC ${MK_SOURCES} ${MK_MOCK_SOURCES})
	add_dependencies(mk_internal mk_embedded)
	set_target_properties(mk_internal PROPERTIES LINKER_LANGUAGE C)
	target_compile_definitions(mk_internal PUBLIC MK_WITH_MOCK)
	target_link_libraries(mk_internal PUBLIC mk_flags)
	# nothing names the handlers, so the archive would not give them
	target_link_libraries(mk_internal INTERFACE ${MK_HANDLER_OBJECTS})
	if(MK_HANDLER_SOURCES)
		add_dependencies(mk_internal mk_handlers)
	endif()
endif()
