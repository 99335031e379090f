# check_full.sh: the long part of ./check full; sourced by it.

# Every kernel level this processor has, besides the best, which the suite above ran: what meets kernels.
level_in_use() {
    NEXUS_ISA=$1 build/nexus doctor --json 2>/dev/null | sed -n 's/^ *"level": "\(.*\)",$/\1/p'
}
best=$(level_in_use '') || true # doctor tells by its exit code whether all is well
case "$best" in # builds with sanitizers run the best level alone
amx | avx512_bf16) needed="base;avx512;$best" ;;
base) needed=base ;;
*) needed="base;$best" ;;
esac
for level in base avx2 avx512 avx512_bf16 amx neon; do
    [ "$(level_in_use "$level")" = "$level" ] || continue
    if [ "$level" != "$best" ]; then
        NEXUS_ISA=$level suite "level-$level" build \
            -R '^oracle|^test_(amx|broadcast|families|fast_kernel|golden|gguf_types|grad|prims|reduce|shape|vector_math)$' \
            -E 'export|harness|hostile|_io$|jinja|messages|sentencepiece|tokenizer'
    fi
done

# arm64, emulated: all that is tested without Python, at the level that Apple's processors have.
if [ "$(uname -m)" = x86_64 ] && command -v apt-get >/dev/null; then
    need_packages gcc-aarch64-linux-gnu qemu-user
    . tools/arm64.sh
    arm64_build "$PWD/build-arm64"
    suite arm64 build-arm64 -R '^test_' -E 'golden|amx|jinja|tokenizer' # slow, or x86's, or the same everywhere
fi

# Every operation on a device with memory of its own.
NEXUS_PRETEND_GPU=1 suite pretended-gpu build -R '^oracle' -E 'jinja|tokenizer'

# What /openapi.json describes, tried with many more requests than the suite above has time for.
NEXUS_E2E=full suite openapi build -R '^e2e_openapi$'

# Every case of the table of operations, of which the suite above took a sample.
NEXUS_ORACLE=full suite table build -R '^oracle_table$'

# Conversions as MLX's and llama.cpp's own programs read them, where Python has them.
NEXUS_CONVERT=full suite convert build -R '^e2e_convert$'

# Arrays of more than 2^31 elements: skipped where less than 12 GB of memory is free.
suite huge build -C huge -R '^huge$'

# Address and undefined-behaviour sanitizers over everything that is compiled.
preset asan -DNEXUS_LEVELS="$needed"
suite asan build-asan -LE oracle

# The server under load: a minute of many clients, and shorter with the sanitizers.
NEXUS_LONG=1 NEXUS_SOAK_SECONDS=60 NEXUS_SOAK_CLIENTS=64 suite soak build -R '^e2e_(soak|server_faults)$'
NEXUS_SLOW=1 suite asan-server build-asan -R '^e2e_soak$'

# The operations too, against MLX: Python itself is not instrumented, so the runtimes come first.
if command -v gcc >/dev/null && grep -q '^CMAKE_C_COMPILER:.*/\(cc\|gcc\)$' build-asan/CMakeCache.txt; then
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
        ASAN_OPTIONS=detect_leaks=0 suite asan-oracle build-asan -R '^oracle' -E 'jinja|tokenizer'
fi

# Threads: the engine's core, streams, devices and the pool.
preset tsan -DNEXUS_LEVELS=base
suite tsan build-tsan -R 'test_core|test_pool|test_grad|test_threads|test_device|test_memory'
NEXUS_SLOW=1 NEXUS_SOAK_TINY=1 NEXUS_SOAK_SECONDS=30 NEXUS_SOAK_CLIENTS=12 suite tsan-server build-tsan -R '^e2e_soak$'

# Fuzzing: each driver from its corpus, for a while.
if command -v clang >/dev/null; then
    quietly build/configure-fuzz.log cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang \
        -DNEXUS_FUZZ=ON -DNEXUS_LEVELS=base -DNEXUS_FUZZ_SECONDS="${FUZZ_SECONDS:-20}" \
        -DNEXUS_SANITIZE=address,undefined,fuzzer-no-link -DCMAKE_BUILD_TYPE=RelWithDebInfo
    quietly build/build-fuzz.log cmake --build build-fuzz
    suite fuzz build-fuzz -L fuzz
fi

# The runtime on an installed mlx-c: ours, by its package, without its extensions: what meets an engine.
quietly build/install.log cmake --install build --prefix "$PWD/build/installed"
quietly build/configure-system.log cmake -S . -B build-system -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DNEXUS_ENGINE=system -DCMAKE_PREFIX_PATH="$PWD/build/installed"
quietly build/build-system.log cmake --build build-system
NEXUS_NO_EXTENSIONS=1 suite system build-system -R '^since$|golden|^faults$|^e2e_(cli|convert|embeddings|text_verbs)$'
