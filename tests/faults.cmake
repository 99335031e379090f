# Bad input through the program; the models are made by the test.
if(TARGET nexus)
    add_test(NAME faults COMMAND ${CMAKE_CURRENT_LIST_DIR}/oracle/run.sh $<TARGET_FILE:mlxc>
        "${NEXUS_PYTHON}" ${CMAKE_CURRENT_LIST_DIR}/faults/test_faults.py)
    set_tests_properties(faults PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77 RUN_SERIAL ON LABELS "e2e"
        ENVIRONMENT "NEXUS_BIN=$<TARGET_FILE:nexus>")
endif()
