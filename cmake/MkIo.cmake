# SPDX-License-Identifier: Apache-2.0
# libmegakernel-io: files, pipes and sockets for handlers. It stands on the
# public interface of libmegakernel and links liburing, if that is here; else
# threads do the reading.

file(GLOB MK_IO_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/io/*.c")

option(MK_URING "Use liburing where it is found" ON)
set(MK_URING_FOUND FALSE)
if(MK_URING AND PkgConfig_FOUND)
	pkg_check_modules(MK_LIBURING QUIET IMPORTED_TARGET "liburing>=2.3")
	set(MK_URING_FOUND ${MK_LIBURING_FOUND})
endif()
if(MK_URING AND NOT MK_URING_FOUND)
	message(STATUS "no liburing 2.3 or later: libmegakernel-io reads with "
		"threads (scripts/install-deps.sh, or install liburing-dev)")
endif()

add_library(mk_io_objects OBJECT ${MK_IO_SOURCES})
target_link_libraries(mk_io_objects PRIVATE mk_flags)
set(MK_IO_LINK "")
set(MK_IO_REQUIRES "")
set(MK_IO_STATIC_LIBS "")
if(MK_URING_FOUND)
	target_compile_definitions(mk_io_objects PRIVATE MK_WITH_URING)
	target_link_libraries(mk_io_objects PRIVATE PkgConfig::MK_LIBURING)
	set(MK_IO_LINK PkgConfig::MK_LIBURING)
	set(MK_IO_REQUIRES "liburing >= 2.3")
	set(MK_IO_STATIC_LIBS uring)
endif()

set(MK_IO_MAP "${PROJECT_SOURCE_DIR}/src/io/libmegakernel-io.map")
add_library(mk_io_shared SHARED $<TARGET_OBJECTS:mk_io_objects>)
set_target_properties(mk_io_shared PROPERTIES OUTPUT_NAME megakernel-io
	LINKER_LANGUAGE C LINK_DEPENDS "${MK_IO_MAP}"
	VERSION ${PROJECT_VERSION} SOVERSION ${MK_SOVERSION})
target_link_libraries(mk_io_shared PUBLIC mk_shared
	PRIVATE ${MK_IO_LINK} Threads::Threads)
target_link_options(mk_io_shared PRIVATE
	"-Wl,--version-script=${MK_IO_MAP}")
if(NOT MK_SANITIZE AND NOT MK_FUZZ)
	target_link_options(mk_io_shared PRIVATE -Wl,--no-undefined)
endif()

# Static: one object, as the core's, so that hidden names stay its own.
set(MK_IO_ONE "${CMAKE_BINARY_DIR}/lib/megakernel-io.o")
add_custom_command(OUTPUT "${MK_IO_ONE}"
	COMMAND ${CMAKE_COMMAND} -E make_directory "${CMAKE_BINARY_DIR}/lib"
	COMMAND ${CMAKE_LINKER} -r -o "${MK_IO_ONE}"
		$<TARGET_OBJECTS:mk_io_objects>
	COMMAND ${CMAKE_OBJCOPY} --localize-hidden "${MK_IO_ONE}"
	DEPENDS $<TARGET_OBJECTS:mk_io_objects>
	COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties("${MK_IO_ONE}" PROPERTIES EXTERNAL_OBJECT TRUE)
add_library(mk_io_static STATIC "${MK_IO_ONE}")
add_dependencies(mk_io_static mk_io_objects)
set_target_properties(mk_io_static PROPERTIES OUTPUT_NAME megakernel-io
	LINKER_LANGUAGE C)
target_link_libraries(mk_io_static PUBLIC ${MK_IO_LINK} Threads::Threads)
target_include_directories(mk_io_static INTERFACE
	"${PROJECT_SOURCE_DIR}/include")

# Internal: for tests of one file. Whoever links it brings the core.
if(BUILD_TESTING)
	add_library(mk_io_internal STATIC $<TARGET_OBJECTS:mk_io_objects>)
	set_target_properties(mk_io_internal PROPERTIES LINKER_LANGUAGE C)
	target_link_libraries(mk_io_internal PUBLIC ${MK_IO_LINK} mk_flags)
endif()
