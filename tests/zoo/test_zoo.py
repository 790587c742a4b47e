"""tools/zoo.py against its documented recipe, computed here one element at a time in Python integers."""
import json
import lzma
import math
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TOOL = os.path.join(ROOT, "tools", "zoo.py")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import zoo  # noqa: E402

MASK = 2**64 - 1


def splitmix64(state):
    """Steele, Lea, Flood 2014: one output of the generator whose state was `state`."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def element(name, std, i):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    return ((splitmix64((seed + i) & MASK) >> 40) / 2.0**24 - 0.5) * (math.sqrt(12.0) * std)


def external(name, dims, dtype, offset, length):
    tensor = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def skeleton(path, tensors, recipes):
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", [tensors[0].name], ["y"])], "g", [], [output], tensors)
    model = helper.make_model(graph)
    helper.set_model_props(model, {f"fill:{name}": recipe for name, recipe in recipes.items()})
    path.write_bytes(lzma.compress(model.SerializeToString()))
    return path


def run(out, *arguments):
    return subprocess.run([sys.executable, TOOL, str(out), *map(str, arguments)], capture_output=True, text=True)


def test_splitmix64__known_answer():
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert zoo.tensor_seed("a") == 0xAF63DC4C8601EC8C  # FNV-1a's published test vector


def test_zoo__writes_the_recipe(tmp_path):
    path = skeleton(tmp_path / "m.onnx.xz",
                    [external("w", [3, 5], TensorProto.FLOAT, 0, 60),
                     external("h", [7], TensorProto.FLOAT16, 4096, 14)], {"w": "normal:0.02", "h": "normal:1"})
    done = run(tmp_path / "out", path)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out" / "m.bin").read_bytes()
    assert np.frombuffer(data, "<f4", 15).tolist() == [np.float32(element("w", 0.02, i)) for i in range(15)]
    assert np.frombuffer(data, "<f2", 7, 4096).tolist() == [np.float16(element("h", 1.0, i)) for i in range(7)]
    model = onnx.load(tmp_path / "out" / "m.onnx")  # finds its external data
    assert {e.value for e in model.graph.initializer[0].external_data if e.key == "location"} <= {"m.bin"}
    assert sorted(os.listdir(tmp_path / "out")) == ["m.bin", "m.key", "m.onnx"]


def test_zoo__chunks_do_not_show(monkeypatch):
    tensor = external("w", [1000], TensorProto.FLOAT, 0, 4000)
    whole = np.concatenate(list(zoo.chunks_of(tensor, "normal:0.5", None)))
    monkeypatch.setattr(zoo, "CHUNK_ELEMENTS", 77)
    assert np.array_equal(np.concatenate(list(zoo.chunks_of(tensor, "normal:0.5", None))), whole)


def safetensors_file(path, data):
    header = json.dumps({"k": {"dtype": "F32", "shape": data.shape, "data_offsets": [0, data.nbytes]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data.tobytes())
    return path


@pytest.mark.parametrize("recipe, dims", [("safetensors:k", [4, 6]), ("safetensors:k.T", [6, 4])])
def test_zoo__takes_real_weights(tmp_path, recipe, dims):
    real = np.arange(24, dtype="<f4").reshape(4, 6)
    path = skeleton(tmp_path / "m.onnx.xz", [external("w", dims, TensorProto.FLOAT, 0, 96)], {"w": recipe})
    done = run(tmp_path, "--safetensors", safetensors_file(tmp_path / "k.safetensors", real), path)
    assert done.returncode == 0, done.stderr
    got = np.fromfile(tmp_path / "m.bin", "<f4").reshape(dims)
    assert np.array_equal(got, real.T if recipe.endswith(".T") else real)


def test_zoo__second_run_leaves_a_complete_model_alone(tmp_path):
    path = skeleton(tmp_path / "m.onnx.xz", [external("w", [4], TensorProto.FLOAT, 0, 16)], {"w": "normal:1"})
    out = tmp_path / "out"
    run(out, path)
    first = os.stat(out / "m.bin").st_ino
    assert "complete" in run(out, path).stdout
    assert os.stat(out / "m.bin").st_ino == first
    with open(out / "m.bin", "ab") as file:
        file.truncate(8)
    assert "written" in run(out, path).stdout
    assert (out / "m.bin").stat().st_size == 16


def test_skeleton__is_unpacked_as_it_is(tmp_path):
    path = skeleton(tmp_path / "m.onnx.xz", [external("w", [4], TensorProto.FLOAT, 0, 16)], {"w": "normal:1"})
    out = tmp_path / "out"
    done = run(out, "--skeleton", path)
    assert done.returncode == 0 and "unpacked" in done.stdout, done.stderr
    assert (out / "m.onnx").read_bytes() == lzma.decompress(path.read_bytes())
    assert os.listdir(out) == ["m.onnx"]
    first = os.stat(out / "m.onnx").st_ino
    assert "there" in run(out, "--skeleton", path).stdout
    assert os.stat(out / "m.onnx").st_ino == first
    (out / "m.onnx").write_bytes(b"other")
    assert "unpacked" in run(out, "--skeleton", path).stdout
    assert (out / "m.onnx").read_bytes() == lzma.decompress(path.read_bytes())


@pytest.mark.parametrize("recipes, dims, length, says", [
    ({}, [4], 16, "no fill: recipe"),
    ({"w": "zeros:1"}, [4], 16, "neither normal: nor safetensors:"),
    ({"w": "normal:1"}, [5], 16, "20 bytes made, the skeleton says 16"),
])
def test_zoo__failure_leaves_nothing_behind(tmp_path, recipes, dims, length, says):
    path = skeleton(tmp_path / "m.onnx.xz", [external("w", dims, TensorProto.FLOAT, 0, length)], recipes)
    done = run(tmp_path / "out", path)
    assert done.returncode == 1 and says in done.stderr
    assert os.listdir(tmp_path / "out") == []
