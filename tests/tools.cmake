# Programs that tests in other languages talk to. They stand in the build's tests/ folder.
if(TARGET nexus_objects)
    add_executable(tokenize_tool ${CMAKE_CURRENT_LIST_DIR}/tools/tokenize_tool.c)
    target_link_libraries(tokenize_tool PRIVATE nexus_objects base)
endif()
