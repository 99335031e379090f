/*
 * lapack.c: finds and loads the library behind lapack.h.
 */
#include "engine/cpu/lapack.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static struct {
    pthread_once_t once;
    nx_lapack table;
    const char *why; /* there is none */
} lapack = {.once = PTHREAD_ONCE_INIT};

static const struct {
    const char *name;
    size_t offset;
} routines[] = {
#define ROUTINE(name, field, i) {#name "_", offsetof(nx_lapack, field) + (i) * sizeof(void *)}
    ROUTINE(sgeqrf, geqrf, 0), ROUTINE(dgeqrf, geqrf, 1), ROUTINE(sorgqr, orgqr, 0),
    ROUTINE(dorgqr, orgqr, 1), ROUTINE(sgetrf, getrf, 0), ROUTINE(dgetrf, getrf, 1),
    ROUTINE(sgetri, getri, 0), ROUTINE(dgetri, getri, 1), ROUTINE(strtri, trtri, 0),
    ROUTINE(dtrtri, trtri, 1), ROUTINE(spotrf, potrf, 0), ROUTINE(dpotrf, potrf, 1),
    ROUTINE(sgesdd, gesdd, 0), ROUTINE(dgesdd, gesdd, 1), ROUTINE(cgesdd, cgesdd, 0),
    ROUTINE(sgeev, geev, 0),   ROUTINE(dgeev, geev, 1),   ROUTINE(cgeev, cgeev, 0),
    ROUTINE(ssyevd, syevd, 0), ROUTINE(dsyevd, syevd, 1), ROUTINE(cheevd, cheevd, 0),
};

#ifdef __APPLE__
static const char *const libraries[] = {
    "/System/Library/Frameworks/Accelerate.framework/Accelerate", "libopenblas.dylib"};
#else
/* With its own BLAS; the reference's, or what the system put in its place. */
static const char *const libraries[] = {"libopenblas.so.0", "libopenblas.so", "liblapack.so.3"};
#endif

static bool take_routines(void *library)
{
    for (size_t i = 0; i < sizeof routines / sizeof *routines; i++) {
        void *routine = dlsym(library, routines[i].name);
        if (!routine)
            return false;
        memcpy((char *)&lapack.table + routines[i].offset, &routine, sizeof routine);
    }
    void *threads = dlsym(library, "openblas_set_num_threads");
    memcpy(&lapack.table.set_threads, &threads, sizeof threads);
    return true;
}

static bool load(const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        nx_debug("lapack: %s", dlerror());
        return false;
    }
    if (take_routines(library)) {
        nx_debug("lapack: %s", name);
        return true;
    }
    nx_debug("lapack: %s lacks routines of LAPACK", name);
    dlclose(library);
    return false;
}

static void find(void)
{
    const char *named = getenv("NEXUS_LAPACK");
    if (named && *named) {
        if (!load(named))
            lapack.why = "the library that NEXUS_LAPACK names is no LAPACK that can be loaded";
        return;
    }
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (load(libraries[i]))
            return;
    lapack.why = "linear algebra needs LAPACK, and none was found: install OpenBLAS (Debian, Ubuntu: "
                 "libopenblas0; Fedora: openblas)";
}

const nx_lapack *nx_lapack_get(const char **why)
{
    pthread_once(&lapack.once, find);
    *why = lapack.why;
    return lapack.why ? NULL : &lapack.table;
}
