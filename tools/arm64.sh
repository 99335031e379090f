# arm64.sh: the engine and the runtime built for arm64 and tested on an emulated processor; sourced by
# check_full.sh, on Debian and its kin. The libraries of that architecture are unpacked below
# build-arm64/, by a package database of their own: this machine's stays as it is.

# arm64_root DIR PACKAGE...: what the build links, in DIR/root.
arm64_root() {
    local at=$1 options deb link
    shift
    [ -f "$at/root/.complete" ] && return
    mkdir -p "$at"/state/lists/partial "$at"/cache/archives/partial "$at/root"
    : >"$at/status"
    options=(-oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oAPT::Sandbox::User="$(id -un)"
        -oDir::State="$at/state" -oDir::State::status="$at/status" -oDir::Cache="$at/cache")
    quietly build/arm64-update.log apt-get "${options[@]}" update
    quietly build/arm64-fetch.log apt-get "${options[@]}" install -y --download-only \
        --no-install-recommends -oDebug::NoLocking=true "$@"
    for deb in "$at"/cache/archives/*.deb; do
        dpkg -x "$deb" "$at/root"
    done
    find "$at/root" -type l -lname '/*' | while read -r link; do # as if it were mounted at /
        ln -sfn "$at/root$(readlink "$link")" "$link"
    done
    touch "$at/root/.complete"
}

# arm64_toolchain FILE ROOT: how CMake builds for it, and runs what it built.
arm64_toolchain() {
    local libs=$2/usr/lib/aarch64-linux-gnu
    cat >"$1" <<EOF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_SYSROOT $2)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_FLAGS_INIT "-B$libs")
foreach(kind EXE SHARED MODULE)
    set(CMAKE_\${kind}_LINKER_FLAGS_INIT "-L$libs -Wl,-rpath-link,$libs:$2/lib/aarch64-linux-gnu")
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;$2")
EOF
}

# arm64_build DIR: configures and builds the tests that need no Python.
arm64_build() {
    local root=$1/root
    arm64_root "$1" libc6-dev libcmocka-dev libjansson-dev libpcre2-dev libutf8proc-dev libsqlite3-dev \
        libcurl4-openssl-dev libmicrohttpd-dev libcmark-gfm-dev libcmark-gfm-extensions-dev libedit-dev \
        libxrandr-dev
    arm64_toolchain "$1/toolchain.cmake" "$root"
    export PKG_CONFIG_LIBDIR=$root/usr/lib/aarch64-linux-gnu/pkgconfig:$root/usr/share/pkgconfig
    export PKG_CONFIG_SYSROOT_DIR=$root
    quietly build/configure-arm64.log cmake -S . -B "$1" -G Ninja \
        -DCMAKE_TOOLCHAIN_FILE="$1/toolchain.cmake" -DCMAKE_BUILD_TYPE=Release
    quietly build/build-arm64.log cmake --build "$1" --target unit_tests
    unset PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR
}
