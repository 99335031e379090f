"""The oracle tests need MLX itself beside libmlxc (MLXC_LIB, else build/libmlxc.so)."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
pytest.importorskip("mlx.core")


@pytest.fixture(autouse=True)
def on_the_cpu():
    import mlx.core as mx
    mx.set_default_device(mx.cpu)
