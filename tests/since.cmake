# The runtime runs on mlx-c as it was at 0.6.0.
if(TARGET nexus_lib)
    add_test(NAME since COMMAND ${CMAKE_CURRENT_LIST_DIR}/since.sh $<TARGET_FILE:nexus_lib>)
endif()
