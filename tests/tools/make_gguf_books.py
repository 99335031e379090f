#!/usr/bin/env python3
"""Writes engine/cpu/gguf_books_data.c from the code books in PyPI's gguf package (0.19.0): the reference of
the file format. Not part of a build: the books are facts that never change.
"""
import os

import numpy as np
from gguf import quants

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "engine", "cpu", "gguf_books_data.c")
HEAD = """/*
 * gguf_books_data.c: the code books of GGUF's IQ types: data of the file format, taken from PyPI's gguf
 * package, version 0.19.0 (MIT), by tests/tools/make_gguf_books.py. Not written by hand.
 *
 * An entry is eight values as two bits each, or four as four bits each, the first value lowest.
 */
#include "engine/cpu/gguf_books.h"
"""
BOOKS = [("iq2_xxs", quants.IQ2_XXS, 2), ("iq2_xs", quants.IQ2_XS, 2), ("iq2_s", quants.IQ2_S, 2),
         ("iq1", quants.IQ1_S, 2), ("iq3_xxs", quants.IQ3_XXS, 4), ("iq3_s", quants.IQ3_S, 4)]


def main():
    out = [HEAD]
    for name, book, bits in BOOKS:
        book.init_grid()
        grid = np.asarray(book.grid).reshape(book.grid_shape)
        places = np.searchsorted(np.array(book.grid_map), grid)
        assert (np.array(book.grid_map)[places] == grid).all()
        entries = (places << (bits * np.arange(grid.shape[1]))).sum(1)
        out.append(f"\nconst uint16_t nx_book_{name}[{len(entries)}] = {{\n")
        for i in range(0, len(entries), 12):
            out.append("    " + " ".join(f"0x{e:04X}," for e in entries[i:i + 12]) + "\n")
        out.append("};\n")
    signs = quants.IQ2_XXS.ksigns
    assert all(signs[i] == (i | (bin(i).count("1") & 1) << 7) for i in range(128))
    with open(OUT, "w") as f:
        f.writelines(out)


if __name__ == "__main__":
    main()
