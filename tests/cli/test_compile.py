"""`flashmem compile`: the pack it writes, what it reports, and how much memory it takes."""

import json
import os
import re
import stat

import numpy as np
import pytest
from onnx import TensorProto, helper

import support
from support import assert_close, load_folder, reference


def test_compile__summary_and_json(flashmem, small_model, tmp_path):
    done = flashmem.ok("compile", small_model, "-o", tmp_path / "p.flm", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert re.match(
        rf"{tmp_path}/p.flm: 9 nodes -> \d+ steps, \d+ device programs, weights 0.8 MB, pack [\d.]+ MB, [\d.]+ s, peak memory \d+ MB\n$",
        done.out,
    )
    assert report["graph_nodes"] == 9 and report["steps"] == 3  # bias and activation join the products
    assert report["weights_bytes"] == 3 * (256 * 256 + 256) * 4
    assert report["pack_bytes"] == (tmp_path / "p.flm").stat().st_size >= report["weights_bytes"]
    assert report["process_peak_bytes"] > 0 and report["seconds"] > 0


def test_compile__quiet(flashmem, small_model, tmp_path):
    done = flashmem.ok("compile", small_model, "-o", tmp_path / "p.flm", "--quiet")
    assert not done.out and not done.err


def test_compile__the_same_bytes_twice(flashmem, small_model, tmp_path):
    for name in "ab":
        flashmem.ok("compile", small_model, "-o", tmp_path / f"{name}.flm")
    assert (tmp_path / "a.flm").read_bytes() == (tmp_path / "b.flm").read_bytes()


def test_compile__replaces_a_pack_whole(flashmem, small_model, tmp_path):
    pack = tmp_path / "p.flm"
    pack.write_text("old")
    os.chmod(pack, 0o600)
    old_mask = os.umask(0o027)
    try:
        flashmem.ok("compile", small_model, "-o", pack)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(pack.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["p.flm"]
    flashmem.ok("inspect", pack, "--verify")


def test_compile__failure_keeps_the_old_pack(flashmem, tmp_path):
    pack, model = tmp_path / "p.flm", tmp_path / "m.onnx"
    pack.write_text("old")
    model.write_text("not a model")
    flashmem.fails("compile", model, "-o", pack, says=str(model))
    assert pack.read_text() == "old" and sorted(os.listdir(tmp_path)) == ["m.onnx", "p.flm"]


@pytest.mark.parametrize("output, says", [("none/p.flm", "No such file or directory"), (".", "")])
def test_compile__output_that_cannot_be_written(flashmem, small_model, tmp_path, output, says):
    flashmem.fails("compile", small_model, "-o", tmp_path / output, says=[str(tmp_path), says])
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("external", [False, True])
def test_compile__inline_and_external_weights(flashmem, tmp_path, external):
    model = support.mlp(tmp_path / "m.onnx", external=external)
    flashmem.ok("run", model, "--random-inputs", 1, "--output-dir", tmp_path / "out")
    assert_close(load_folder(tmp_path / "out"), reference(model, load_folder(tmp_path / "out" / "inputs")))


def test_compile__fp16_weights(flashmem, wide_model, tmp_path):
    report = flashmem.report(
        "run", wide_model, "--random-inputs", 1, "--weights", "fp16", "--output-dir", tmp_path / "out", folder=tmp_path
    )
    assert report["weights_bytes"] < 0.51 * 6 * 1024 * 1028 * 4
    assert_close(load_folder(tmp_path / "out"), reference(wide_model, load_folder(tmp_path / "out" / "inputs")), 1e-2)


def test_compile__model_from_another_folder(flashmem, tmp_path):
    """External data is found beside the model, not in the working folder."""
    (tmp_path / "a").mkdir()
    support.mlp(tmp_path / "a" / "m.onnx", external=True)
    flashmem.ok("compile", "a/m.onnx", "-o", "p.flm", cwd=tmp_path)
    assert (tmp_path / "p.flm").exists()


def test_compile__manifest_lists_every_file(flashmem, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", external=True)
    flashmem.ok("compile", model, "-o", tmp_path / "p.flm", "--manifest", tmp_path / "files")
    lines = [line.split(" ", 3) for line in (tmp_path / "files").read_text().splitlines()]
    files = {
        path: flashmem.path if path == "/proc/self/exe" else path for *_, path in lines
    }  # the program's kernels count too
    assert {os.path.realpath(path) for path in files.values()} == {
        str(model),
        f"{model}.bin",
        os.path.realpath(flashmem.path),
    }
    for size, mtime, inode, path in lines:
        info = os.stat(files[path])
        assert (int(size), int(mtime), int(inode)) == (info.st_size, info.st_mtime_ns, info.st_ino)


def test_compile__keep_all_exposes_every_tensor(flashmem, small_model, tmp_path):
    flashmem.ok("compile", small_model, "-o", tmp_path / "p.flm", "--keep-all", "--layout", "cpu")
    flashmem.ok("run", tmp_path / "p.flm", "--random-inputs", 1, "--output-dir", tmp_path / "out")
    got = load_folder(tmp_path / "out")
    assert {"h0", "h1", "y"} <= got.keys()
    feeds = load_folder(tmp_path / "out" / "inputs")
    assert_close({"y": got["y"]}, reference(small_model, feeds))


def test_compile__memory_is_the_largest_slab(flashmem, tmp_path):
    """655 MB of weights through at most 120 MB."""
    peak = flashmem.peak_bytes(
        "compile", support.zoo("gptn-s"), "-o", tmp_path / "p.flm", "--quiet", "--layout", "cpu", folder=tmp_path
    )
    assert peak <= 120e6, f"{peak / 1e6:.1f} MB"


def test_compile__memory_does_not_grow_with_inline_weights(flashmem, tmp_path):
    """Inline raw_data is a file range: 134 MB of it are not loaded."""
    model = support.mlp(tmp_path / "m.onnx", width=2048, layers=8)
    peak = flashmem.peak_bytes(
        "compile", model, "-o", tmp_path / "p.flm", "--quiet", "--layout", "cpu", folder=tmp_path
    )
    assert peak <= 60e6, f"{peak / 1e6:.1f} MB"
