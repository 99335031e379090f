# Programs that tests in other languages talk to: each tools/NAME.c, in the build's tests/ folder.
if(TARGET nexus_objects)
    file(GLOB tools CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/tools/*.c)
    foreach(t ${tools})
        get_filename_component(n ${t} NAME_WE)
        add_executable(${n} ${t})
        target_link_libraries(${n} PRIVATE nexus_objects base)
    endforeach()
endif()
