# Fuzzers. tests/fuzz/fuzz_NAME.c defines LLVMFuzzerTestOneInput; tests/fuzz/corpus/NAME/ holds its
# seeds and every input that once failed. A line "links: base", "links: engine", "links: nexus" or
# "links: server" in the file's head says what it stands on (base if there is none).
#
# An ordinary build feeds the corpus to each (test fuzz_NAME). With clang and -DNEXUS_FUZZ=ON they are
# libFuzzer programs: the test then searches for NEXUS_FUZZ_SECONDS each, starting from the corpus.
set(NEXUS_FUZZ_SECONDS 20 CACHE STRING "seconds that each fuzzer runs in the tests")

function(nexus_fuzzer source)
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE "fuzz_" "" subject ${name})
    file(STRINGS ${source} links REGEX "links: *[a-z]+" LIMIT_COUNT 1)
    set(libraries base)
    if(links MATCHES "links: *engine")
        set(libraries engine_objects base)
    elseif(links MATCHES "links: *nexus")
        set(libraries nexus_objects base)
    elseif(links MATCHES "links: *server")
        set(libraries nexus_server)
    endif()
    foreach(l ${libraries})
        if(NOT TARGET ${l})
            return()
        endif()
    endforeach()
    set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject})
    add_executable(${name} ${source})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE ${libraries})
    if(NEXUS_FUZZ)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        set(found ${CMAKE_BINARY_DIR}/fuzz/${subject})
        file(MAKE_DIRECTORY ${found})
        add_test(NAME ${name} COMMAND ${name} -max_total_time=${NEXUS_FUZZ_SECONDS} -timeout=10
            -rss_limit_mb=4096 -artifact_prefix=${found}/ ${found} ${corpus})
        math(EXPR limit "${NEXUS_FUZZ_SECONDS} + 120")
    else()
        target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
        add_test(NAME ${name} COMMAND ${name} ${corpus})
        set(limit 120)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${limit} LABELS fuzz)
endfunction()

file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/fuzz/fuzz_*.c)
foreach(f ${fuzzers})
    nexus_fuzzer(${f})
endforeach()
