# Every program of examples/ ends with 0 if what it claims is so; the distributed one also among
# several processes.
if(TARGET example_hello)
    foreach(name ${NEXUS_EXAMPLES})
        add_test(NAME example_${name} COMMAND example_${name}
            WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
        set_tests_properties(example_${name} PROPERTIES TIMEOUT 120)
    endforeach()
    if(TARGET nexus_mpi AND NEXUS_MPIRUN AND NOT NEXUS_SANITIZE)
        foreach(ranks 2 4)
            add_test(NAME example_data_parallel_${ranks} COMMAND
                ${CMAKE_CURRENT_SOURCE_DIR}/dist/run.sh ${NEXUS_MPIRUN} ${ranks} ""
                $<TARGET_FILE:example_data_parallel>)
            set_tests_properties(example_data_parallel_${ranks} PROPERTIES TIMEOUT 120 RUN_SERIAL ON)
        endforeach()
    endif()
endif()
