# SPDX-License-Identifier: Apache-2.0
# Options, and the flags that every target gets.

option(MK_WERROR "Treat warnings as errors" OFF)
option(MK_EXAMPLES "Build examples/ even without tests" OFF)
option(MK_BENCH "Build bench/" ON)
option(MK_CUDA_EMULATION "Test the CUDA kernel's text on the CPU; slow" OFF)
option(MK_COVERAGE "Count executed lines" OFF)
option(MK_FUZZ "Build fuzz/ with libFuzzer; needs clang" OFF)
set(MK_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")

if(NOT CMAKE_BUILD_TYPE)
	set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_C_VISIBILITY_PRESET hidden)

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
	message(FATAL_ERROR "libmegakernel is for Linux")
endif()

# C++ is wanted by some tests and bench peers only. One that was installed
# since the last time is found.
if(NOT CMAKE_CXX_COMPILER)
	unset(CMAKE_CXX_COMPILER CACHE)
endif()
check_language(CXX)
if(CMAKE_CXX_COMPILER)
	enable_language(CXX)
endif()

add_compile_options(-Wall -Wextra)
if(MK_WERROR)
	add_compile_options(-Werror)
endif()
if(MK_SANITIZE)
	add_compile_options(-fsanitize=${MK_SANITIZE}
		-fno-omit-frame-pointer -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${MK_SANITIZE})
endif()
if(MK_COVERAGE)
	add_compile_options(--coverage -fprofile-update=atomic)
	add_link_options(--coverage)
endif()
if(MK_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
		message(FATAL_ERROR "MK_FUZZ needs clang: CC=clang, or -D"
			"CMAKE_C_COMPILER=clang")
	endif()
	add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig)

# Header-only use of xxhash: cache keys and checksums.
find_path(MK_XXHASH_INCLUDE xxhash.h)
if(NOT MK_XXHASH_INCLUDE)
	message(FATAL_ERROR "xxhash.h not found: scripts/install-deps.sh, or "
		"install libxxhash-dev")
endif()
