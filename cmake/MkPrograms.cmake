# SPDX-License-Identifier: Apache-2.0
# The programs: megakernel-worker and megakernel.

file(GLOB MK_WORKER_MAIN CONFIGURE_DEPENDS
	"${PROJECT_SOURCE_DIR}/src/worker/main.c")
if(MK_WORKER_MAIN)
	add_executable(megakernel-worker "${MK_WORKER_MAIN}")
	if(BUILD_TESTING)
		target_link_libraries(megakernel-worker PRIVATE mk_internal)
	else()
		target_link_libraries(megakernel-worker PRIVATE mk_flags)
		target_sources(megakernel-worker PRIVATE ${MK_OBJECTS})
	endif()
endif()

# tools/main.c is the program; the rest is a library that tests link too.
file(GLOB MK_TOOL_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/*.c")
set(MK_TOOL_MAIN ${MK_TOOL_SOURCES})
list(FILTER MK_TOOL_MAIN INCLUDE REGEX "/tools/main\\.c$")
list(FILTER MK_TOOL_SOURCES EXCLUDE REGEX "/tools/main\\.c$")
if(MK_TOOL_MAIN)
	find_path(MK_JANSSON_INCLUDE jansson.h)
	find_library(MK_JANSSON_LIBRARY jansson)
	if(NOT MK_JANSSON_INCLUDE OR NOT MK_JANSSON_LIBRARY)
		message(FATAL_ERROR "jansson not found: "
			"scripts/install-deps.sh, or install libjansson-dev")
	endif()
	add_library(mk_tool_flags INTERFACE)
	target_compile_definitions(mk_tool_flags INTERFACE _GNU_SOURCE)
	target_include_directories(mk_tool_flags INTERFACE
		"${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src"
		"${PROJECT_SOURCE_DIR}/tools")
	target_include_directories(mk_tool_flags SYSTEM INTERFACE
		${MK_JANSSON_INCLUDE} ${MK_XXHASH_INCLUDE})
	target_link_libraries(mk_tool_flags INTERFACE
		${MK_JANSSON_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)

	# patterns made into tables: what `megakernel scan` puts into a buffer
	file(GLOB MK_SCAN_SOURCES CONFIGURE_DEPENDS
		"${PROJECT_SOURCE_DIR}/scan/*.c")
	add_library(mk_scan STATIC ${MK_SCAN_SOURCES})
	target_compile_definitions(mk_scan PRIVATE _GNU_SOURCE)
	target_include_directories(mk_scan PUBLIC "${PROJECT_SOURCE_DIR}"
		"${PROJECT_SOURCE_DIR}/include")

	add_executable(megakernel "${MK_TOOL_MAIN}")
	target_link_libraries(megakernel PRIVATE mk_tool_flags)
	if(MK_TOOL_SOURCES)
		# with libmegakernel-io, for whoever brings the core
		add_library(mk_tools STATIC ${MK_TOOL_SOURCES}
			$<TARGET_OBJECTS:mk_io_objects>)
		target_link_libraries(mk_tools PUBLIC mk_tool_flags mk_scan
			${MK_IO_LINK})
		target_link_libraries(megakernel PRIVATE mk_tools)
	endif()
	target_link_libraries(megakernel PRIVATE mk_static)
	if(TARGET megakernel-worker)
		add_dependencies(megakernel megakernel-worker)
	endif()
endif()
