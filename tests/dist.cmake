# Arrays between processes, under Open MPI's mpirun; alone everywhere. Sanitizers and MPI's own
# shared memory do not go together: there the group of one alone is tested.
if(TARGET engine_objects)
    add_executable(test_exchange dist/exchange.c)
    target_link_libraries(test_exchange PRIVATE mlxc)
    add_test(NAME exchange_alone COMMAND test_exchange alone)
    set_tests_properties(exchange_alone PROPERTIES TIMEOUT 60 SKIP_RETURN_CODE 77)
    find_program(NEXUS_MPIRUN mpirun)
    if(TARGET nexus_mpi AND NEXUS_MPIRUN AND NOT NEXUS_SANITIZE)
        # exchange(NAME RANKS SAYS SETTING...): SAYS is what one of the ranks must say, "" nothing.
        function(exchange name ranks says)
            add_test(NAME exchange_${name}_${ranks} COMMAND
                ${CMAKE_CURRENT_SOURCE_DIR}/dist/run.sh ${NEXUS_MPIRUN} ${ranks} "${says}"
                $<TARGET_FILE:test_exchange> ${name})
            set_tests_properties(exchange_${name}_${ranks} PROPERTIES TIMEOUT 60 RUN_SERIAL ON
                ENVIRONMENT "${ARGN}")
        endfunction()
        exchange(all 2 "")
        exchange(all 4 "" NEXUS_MPI_PIECE=1000)
        exchange(mismatch 2 "")
        exchange(mismatch 4 "")
        exchange(leaving 2 "rank 0 was told")
        exchange(waiting 2 "rank 1 was told" NEXUS_MPI_TIMEOUT=1)
    endif()
endif()
