# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where. The worker and the headers are looked for
# where CMAKE_INSTALL_PREFIX said when configuring, and beside the library.

# Before anything is copied.
if(TARGET megakernel-worker AND BUILD_TESTING)
	install(CODE "message(FATAL_ERROR \"this build has the mock engine in \
it: install from one with -DBUILD_TESTING=OFF (make install)\")")
endif()

# An installation may be moved, and is where DESTDIR or --prefix say: what its
# files say of it is relative to them, unless a directory was named outright.
set(MK_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(MK_PC_LIBDIR "${CMAKE_INSTALL_FULL_LIBDIR}")
set(MK_PC_INCLUDEDIR "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" AND
   NOT IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
	file(RELATIVE_PATH MK_PC_PREFIX
		"/root/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/root")
	set(MK_PC_PREFIX "\${pcfiledir}/${MK_PC_PREFIX}")
	string(REGEX REPLACE "/$" "" MK_PC_PREFIX "${MK_PC_PREFIX}")
	set(MK_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
	set(MK_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/megakernel.pc.in"
	"${PROJECT_BINARY_DIR}/megakernel.pc" @ONLY)
configure_file("${PROJECT_SOURCE_DIR}/megakernel-io.pc.in"
	"${PROJECT_BINARY_DIR}/megakernel-io.pc" @ONLY)

include(CMakePackageConfigHelpers)
set(MK_PACKAGE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/megakernel")
configure_package_config_file(
	"${PROJECT_SOURCE_DIR}/cmake/megakernelConfig.cmake.in"
	"${PROJECT_BINARY_DIR}/megakernelConfig.cmake"
	INSTALL_DESTINATION "${MK_PACKAGE_DIR}"
	PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(
	"${PROJECT_BINARY_DIR}/megakernelConfigVersion.cmake"
	COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/megakernelConfig.cmake"
	"${PROJECT_BINARY_DIR}/megakernelConfigVersion.cmake"
	DESTINATION "${MK_PACKAGE_DIR}")

install(TARGETS mk_shared mk_static mk_io_shared mk_io_static
	LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
	ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/include/megakernel.h"
	DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/megakernel"
	DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")
install(FILES "${PROJECT_BINARY_DIR}/megakernel.pc"
	"${PROJECT_BINARY_DIR}/megakernel-io.pc"
	DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(TARGET megakernel)
	install(TARGETS megakernel
		RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(TARGET megakernel-worker)
	install(TARGETS megakernel-worker RUNTIME
		DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}/megakernel")
endif()

foreach(section 1 3 5 7)
	file(GLOB pages CONFIGURE_DEPENDS
		"${PROJECT_SOURCE_DIR}/man/*.${section}")
	foreach(page IN LISTS pages)
		install(FILES "${page}"
			DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}")
		# a page that describes several calls is found by each of them
		get_filename_component(file "${page}" NAME)
		file(STRINGS "${page}" names REGEX "^\\.Nm [a-z][^ ]* ?,?$")
		foreach(name IN LISTS names)
			string(REGEX REPLACE "^\\.Nm ([^ ,]+).*" "\\1.${section}"
				name "${name}")
			if(NOT name STREQUAL file)
				set(alias "${PROJECT_BINARY_DIR}/man/${name}")
				file(WRITE "${alias}"
					".so man${section}/${file}\n")
				install(FILES "${alias}" DESTINATION
					"${CMAKE_INSTALL_MANDIR}/man${section}")
			endif()
		endforeach()
	endforeach()
endforeach()
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE"
	DESTINATION "${CMAKE_INSTALL_DOCDIR}")
