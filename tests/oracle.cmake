# Operations against MLX itself: one test a file of oracle/. Skipped where no Python has MLX.
set(NEXUS_PYTHON "" CACHE FILEPATH "a Python with mlx, ml_dtypes, numpy and pytest, for the oracles")
if(TARGET engine_objects)
    file(GLOB oracles CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/oracle/test_*.py)
    foreach(t ${oracles})
        get_filename_component(n ${t} NAME_WE)
        string(REPLACE "test_" "oracle_" n ${n})
        add_test(NAME ${n} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/oracle/run.sh $<TARGET_FILE:mlxc>
            "${NEXUS_PYTHON}" ${t})
        set_tests_properties(${n} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77 LABELS oracle)
    endforeach()
endif()
