"""Small models and packs that the command-line tests share."""

import numpy as np
import pytest

import support
from onnx import TensorProto, helper


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def small_model(folder):
    """x [4, 256] -> y [4, 256]; 0.8 MB of weights."""
    return support.mlp(folder / "small.onnx")


@pytest.fixture(scope="session")
def wide_model(folder):
    """x [4, 1024] -> y [4, 1024]; six weights of 4.2 MB: larger than small budgets."""
    return support.mlp(folder / "wide.onnx", width=1024, layers=6, external=True)


@pytest.fixture(scope="session")
def rows_model(folder):
    """ids int64 [2, 8] -> y [2, 8, 64]; a table of 1000 rows, read by row."""
    return support.embedder(folder / "rows.onnx")


@pytest.fixture(scope="session")
def dynamic_model(folder):
    """x [batch, 32] -> y [batch, 32]."""
    weights = {"w": np.eye(32, dtype=np.float32) * 2}
    return support.save_model(
        folder / "dynamic.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], "double")],
        [support.tensor("x", TensorProto.FLOAT, ["batch", 32])],
        [support.tensor("y", TensorProto.FLOAT, ["batch", 32])],
        weights,
    )


def compiled(flashmem, model, pack, *options):
    if not pack.exists():
        flashmem.ok("compile", model, "-o", pack, "--layout", "cpu", *options)
    return pack


@pytest.fixture(scope="session")
def small_pack(flashmem, folder, small_model):
    return compiled(flashmem, small_model, folder / "small.flm")


@pytest.fixture(scope="session")
def wide_pack(flashmem, folder, wide_model):
    return compiled(flashmem, wide_model, folder / "wide.flm")


@pytest.fixture(scope="session")
def rows_pack(flashmem, folder, rows_model):
    return compiled(flashmem, rows_model, folder / "rows.flm")


@pytest.fixture
def small_input(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(1).standard_normal((4, 256)).astype(np.float32))
    return path
