/*
 * linalg.h: the kernels of linear algebra: LAPACK's routines, the same at every instruction-set
 * level. Inputs and outputs are row-major [..., m, n], each matrix of a batch by itself. What cannot
 * be computed (a singular matrix to invert) is a fault of the stream, and its outputs are NaN.
 */
#ifndef NX_CPU_LINALG_H
#define NX_CPU_LINALG_H

#include "engine/core/backend.h"

void nx_linalg_qr(const nx_call *c);
void nx_linalg_svd(const nx_call *c);
void nx_linalg_inverse(const nx_call *c);
void nx_linalg_cholesky(const nx_call *c);
void nx_linalg_lu(const nx_call *c);
void nx_linalg_eig(const nx_call *c);
void nx_linalg_eigh(const nx_call *c);

size_t nx_linalg_qr_workspace(const nx_call *c);
size_t nx_linalg_svd_workspace(const nx_call *c);
size_t nx_linalg_inverse_workspace(const nx_call *c);
size_t nx_linalg_lu_workspace(const nx_call *c);
size_t nx_linalg_eig_workspace(const nx_call *c);
size_t nx_linalg_eigh_workspace(const nx_call *c);

#endif
