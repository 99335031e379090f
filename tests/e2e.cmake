# The program as a whole, by pytest; skipped where no Python has it.
if(TARGET nexus)
    file(GLOB names CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_LIST_DIR}/e2e
        ${CMAKE_CURRENT_LIST_DIR}/e2e/test_*.py)
    list(TRANSFORM names REPLACE "^test_(.*)[.]py$" "\\1")
    foreach(name ${names})
        add_test(NAME e2e_${name} COMMAND ${CMAKE_CURRENT_LIST_DIR}/oracle/run.sh
            $<TARGET_FILE:mlxc> "${NEXUS_PYTHON}" ${CMAKE_CURRENT_LIST_DIR}/e2e/test_${name}.py)
        set_tests_properties(e2e_${name} PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77
            LABELS "oracle;e2e" ENVIRONMENT "NEXUS_BIN=$<TARGET_FILE:nexus>")
    endforeach()
    # Those that watch a clock, the machine's free memory or a terminal's screen run alone.
    foreach(name chat cli display doctor downloads page pull server server_faults soak terminal)
        set_tests_properties(e2e_${name} PROPERTIES RUN_SERIAL ON)
    endforeach()
endif()
