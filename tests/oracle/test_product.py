"""Products other than of matrices, and the Hadamard transform."""
import mlx.core as mx
import numpy as np
import pytest

import mlxc
from oracle import check, check_error, compare, numbers, to_mx


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "bool"])
def test_hadamard(dtype):
    tolerance = {"float32": 1e-5, "int32": 1e-5, "bool": 1e-5, "float16": 1e-2, "bfloat16": 1e-1}[dtype]
    for n in (1, 2, 8, 12, 20, 24, 28, 56, 64, 40, 512, 12 * 128, 4096, 28 * 1024):
        check("hadamard_transform", (3, n), args=(None,), dtypes=[dtype], layouts=n < 30, atol=tolerance,
              ref=mx.hadamard_transform)
    check("hadamard_transform", (2, 3, 16), args=(0.5,), dtypes=[dtype], atol=tolerance,
          ref=lambda x: mx.hadamard_transform(x, 0.5))
    check("hadamard_transform", (), args=(None,), dtypes=[dtype], ref=mx.hadamard_transform)


def test_hadamard_errors():
    for shape in [(2, 3), (7,), (44,), (0,), (6,), (10,)]:
        check_error("hadamard_transform", shape, args=(None,), ref=mx.hadamard_transform)
    check_error("hadamard_transform", (4,), args=(None,), dtype="float64", ref=mx.hadamard_transform)
    with pytest.raises(mlxc.Error):  # MLX damages its memory here
        mlxc.op("hadamard_transform", np.zeros(36, np.float32), None)


EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("ij,jk", (3, 4), (4, 5)), ("ij,kj->ik", (3, 4), (5, 4)),
    ("i,i->", (5,), (5,)), ("i,i", (5,), (5,)), ("i,j->ij", (3,), (4,)), ("ij->ji", (3, 4)), ("ba", (3, 4)),
    ("ij->", (3, 4)), ("ij->i", (3, 4)), ("ij->j", (3, 4)), ("ii", (4, 4)), ("ii->i", (4, 4)),
    ("iij->j", (3, 3, 2)), ("iii->i", (3, 3, 3)), ("ijij->ij", (2, 3, 2, 3)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)), ("bhij,bhjd->bihd", (2, 3, 4, 6), (2, 3, 6, 5)),
    ("ij,ij->ij", (3, 4), (3, 4)), ("ij,ij->i", (3, 4), (3, 4)), ("ij,j->i", (3, 4), (4,)),
    ("ij , jk -> ik", (3, 4), (4, 5)), ("Ab,bC->AC", (3, 4), (4, 5)), ("bA,bC", (4, 3), (4, 5)),
    ("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)), ("ij,jk,kl,lm->im", (2, 9), (9, 2), (2, 8), (8, 3)),
    ("ij,kj,lj->ikl", (2, 3), (4, 3), (5, 3)), ("i,j,k->kji", (2,), (3,), (4,)), ("i,i,i->", (5,), (5,), (5,)),
    ("ijk,jil->kl", (3, 4, 5), (4, 3, 6)), ("abc,cd,be,fa->def", (2, 3, 4), (4, 5), (3, 6), (7, 2)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)), ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij->...", (5, 2, 3)), ("i...->...", (5, 2, 3)), ("...ij->...ji", (5, 2, 3)),
    ("...->...", (2, 3)), ("ij,jk->ik", (2, 1), (3, 4)), ("ij,jk->ik", (2, 3), (1, 4)), ("ij,ij->ij", (2, 3), (1, 3)),
    ("ij,jk->ik", (2, 0), (0, 4)), ("i,i", (0,), (0,)), ("ij,jk->k", (2, 3), (3, 4)),
    ("a,b,c,d,e,f,g,h,i->", *[(2,)] * 9), ("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", *[(3, 3)] * 9),
]


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
def test_einsum(case):
    subscripts, *shapes = case
    arrays = [numbers(s, "float32", seed=i) for i, s in enumerate(shapes)]
    want = np.asarray(np.einsum(subscripts, *[a.astype(np.float64) for a in arrays])).astype(np.float32)
    compare(mlxc.op("einsum", subscripts, arrays), to_mx(want), subscripts, rtol=1e-4, atol=1e-4)
    turned = [mlxc.op("transpose", np.ascontiguousarray(a.T)) for a in arrays]
    compare(mlxc.op("einsum", subscripts, turned), to_mx(want), subscripts, rtol=1e-4, atol=1e-4)


def test_einsum_types_and_broadcasts():
    x, y = numbers((3, 4), "int8"), numbers((4,), "int16")
    compare(mlxc.op("einsum", "ij->i", [x]), mx.einsum("ij->i", to_mx(x)))
    compare(mlxc.op("einsum", "ij,k->kij", [x, y]), mx.einsum("ij,k->kij", to_mx(x), to_mx(y)))
    z = numbers((4, 2), "complex64")
    compare(mlxc.op("einsum", "ij,jk->ik", [x, z]), mx.einsum("ij,jk->ik", to_mx(x), to_mx(z)), atol=1e-4)
    a = numbers((5, 2, 3), "float32")  # NumPy has no such sum
    compare(mlxc.op("einsum", "i...->i", [a]), mx.einsum("i...->i", to_mx(a)), atol=1e-5)
    # MLX fails at these two, which NumPy's rules allow.
    a, b = numbers((7, 1, 2, 3), "float32"), numbers((5, 3, 4), "float32")
    compare(mlxc.op("einsum", "...ij,...jk->...ik", [a, b]), to_mx(np.einsum("...ij,...jk->...ik", a, b)), atol=1e-4)
    a, b = numbers((1, 2, 3), "float32"), numbers((6, 3, 4), "float32")
    compare(mlxc.op("einsum", "bij,bjk->bik", [a, b]), to_mx(a @ b), atol=1e-4)


@pytest.mark.parametrize("subscripts,shapes", [
    ("ij,jk->ikk", [(2, 3), (3, 4)]), ("ij,jk->iz", [(2, 3), (3, 4)]), ("ij,jk->ik", [(2, 3)]), ("ij->ik", [(2, 3)]),
    ("->", [()]), ("", [()]), (",->", [(), ()]), ("i,->i", [(3,), ()]), ("ij->ji->ij", [(2, 3)]), ("i2->i", [(2, 3)]),
    ("i->i", [(2, 3)]), ("ijk->i", [(2, 3)]), ("i.j->i", [(2, 3)]), ("....i->i", [(2, 3)]), ("...i...->i", [(2, 3)]),
    ("ii->i", [(3, 1)]), ("ii->i", [(2, 3)]), ("i->i", []), ("ij,jk->ik", [(2, 3), (4, 5)]), ("ij,jk,kl->il", [(2, 3)] * 2),
    ("ij", [(2, 3), (2, 3)]), ("...ij,...jk->...ik", [(5, 2, 3), (4, 3, 4)])])
def test_einsum_errors(subscripts, shapes):
    arrays = [numbers(s, "float32") for s in shapes]
    with pytest.raises((ValueError, RuntimeError)):
        mx.eval(mx.einsum(subscripts, *[to_mx(a) for a in arrays]))
    with pytest.raises(mlxc.Error, match=r"\[einsum\]"):
        mlxc.op("einsum", subscripts, arrays)


def test_tensordot():
    for n in (0, 1, 2):
        check("tensordot_axis", (2, 3, 4), {0: (5,), 1: (4, 5), 2: (3, 4, 5)}[n], args=(n,), dtypes=["float32", "float16"],
              ref=lambda a, b: mx.tensordot(a, b, n), atol={"float32": 1e-5, "float16": 5e-2})
    for axes in [([1], [0]), ([-1], [1]), ([0, 2], [2, 1]), ([], [])]:
        shape = {(1,): (3, 5), (-1,): (5, 4), (0, 2): (5, 4, 2), (): (5,)}[tuple(axes[0])]
        check("tensordot", (2, 3, 4), shape, args=axes, ref=lambda a, b: mx.tensordot(a, b, list(axes)), atol=1e-5)
    check("tensordot_axis", (2, 0), (0, 4), args=(1,), ref=lambda a, b: mx.tensordot(a, b, 1))
    for n in (-1, 3):
        check_error("tensordot_axis", (2, 3), (3, 4), args=(n,), ref=lambda a, b: mx.tensordot(a, b, n))
    for axes in [([1], [1]), ([1], [0, 1]), ([1, 1], [0, 0]), ([2], [0])]:
        check_error("tensordot", (2, 3), (3, 4), args=axes, ref=lambda a, b: mx.tensordot(a, b, list(axes)))


def test_inner_outer_kron():
    for a, b in [((3,), (3,)), ((2, 3), (4, 3)), ((), (2, 3)), ((1,), ()), ((), ())]:
        check("inner", a, b, atol=1e-5)
    check_error("inner", (2, 3), (2,))
    for a, b in [((3,), (4,)), ((2, 3), (4, 3)), ((), (2, 3)), ((0,), (3,)), ((), ())]:
        check("outer", a, b, dtypes=["float32", "int8", "bool", "complex64"])
    for a, b in [((3,), (4,)), ((2, 3), (4, 3)), ((), (2, 3)), ((2, 3), (2, 3, 4)), ((2, 3), (2,)), ((), ())]:
        check("kron", a, b, dtypes=["float32", "int8", "complex64"])
    check_error("kron", (0,), (3,))
