/* version.h: the version of MLX whose behaviour this engine has. */
#ifndef NX_CORE_VERSION_H
#define NX_CORE_VERSION_H

const char *nx_version(void);

#endif
