# The program as a whole, by pytest; skipped where no Python has it.
if(TARGET nexus)
    add_test(NAME e2e_cli COMMAND ${CMAKE_CURRENT_LIST_DIR}/oracle/run.sh $<TARGET_FILE:mlxc>
        "${NEXUS_PYTHON}" ${CMAKE_CURRENT_LIST_DIR}/e2e/test_cli.py)
    set_tests_properties(e2e_cli PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 LABELS "oracle;e2e"
        ENVIRONMENT "NEXUS_BIN=$<TARGET_FILE:nexus>")
endif()
