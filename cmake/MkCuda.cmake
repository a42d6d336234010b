# SPDX-License-Identifier: Apache-2.0
# The CUDA engine's texts: what NVRTC compiles at run time travels inside the
# library, as the source that it is. Nothing of CUDA is needed to build.

set(MK_CUDA_DIR "${PROJECT_SOURCE_DIR}/src/engine/cuda")
set(MK_EMBEDDED "${CMAKE_BINARY_DIR}/embedded.c")
file(GLOB MK_CUDA_TEXTS CONFIGURE_DEPENDS
	"${MK_CUDA_DIR}/*.cuh" "${MK_CUDA_DIR}/*.cu")
list(APPEND MK_CUDA_TEXTS "${MK_CUDA_DIR}/resident.h"
	"${MK_CUDA_DIR}/jobs.h")

set(MK_TEXTS "")
set(MK_TEXT_FILES "")
foreach(name abi chunk flow handler map scan)
	set(file "${PROJECT_SOURCE_DIR}/include/megakernel/${name}.h")
	list(APPEND MK_TEXTS "megakernel/${name}.h=${file}")
	list(APPEND MK_TEXT_FILES "${file}")
endforeach()
foreach(file IN LISTS MK_CUDA_TEXTS)
	get_filename_component(name "${file}" NAME)
	list(APPEND MK_TEXTS "${name}=${file}")
	list(APPEND MK_TEXT_FILES "${file}")
endforeach()
# parts of handlers, which include them by name
file(GLOB MK_HANDLER_PARTS CONFIGURE_DEPENDS
	"${PROJECT_SOURCE_DIR}/handlers/*.h")
foreach(file IN LISTS MK_HANDLER_PARTS)
	get_filename_component(name "${file}" NAME)
	list(APPEND MK_TEXTS "${name}=${file}")
	list(APPEND MK_TEXT_FILES "${file}")
endforeach()
foreach(file IN LISTS MK_HANDLER_SOURCES)
	get_filename_component(name "${file}" NAME)
	list(APPEND MK_TEXTS "handlers/${name}=${file}")
	list(APPEND MK_TEXT_FILES "${file}")
endforeach()

add_custom_command(OUTPUT "${MK_EMBEDDED}"
	COMMAND ${CMAKE_COMMAND} "-DOUT=${MK_EMBEDDED}" "-DTEXTS=${MK_TEXTS}"
		-P "${MK_CUDA_DIR}/embed.cmake"
	DEPENDS ${MK_TEXT_FILES} "${MK_CUDA_DIR}/embed.cmake"
	VERBATIM)
# one target makes it, so that two that compile it do not do so at once
add_custom_target(mk_embedded DEPENDS "${MK_EMBEDDED}")
list(APPEND MK_SOURCES "${MK_EMBEDDED}")
target_compile_definitions(mk_flags INTERFACE MK_WITH_CUDA)
