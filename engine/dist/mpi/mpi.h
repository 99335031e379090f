/*
 * mpi.h: of the library libnexus_mpi.so: element types and combining for MPI (reduce.c), and the
 * transport itself (mpi.c).
 */
#ifndef NX_DIST_MPI_MPI_H
#define NX_DIST_MPI_MPI_H

#include <mpi.h>

#include "engine/dist/transport.h"

/* Makes the types and operations that MPI does not have. Once, after MPI has begun. An MPI code. */
int nx_mpi_types_make(void);
MPI_Datatype nx_mpi_type(nx_dtype t);
/* What combines elements of a type: MPI's own where it does what MLX does, else ours. */
MPI_Op nx_mpi_op(nx_combine c, nx_dtype t);

#endif
