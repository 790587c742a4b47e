"""Models that are damaged, cyclic, unsupported or incomplete: refused with node, operator, tensor and what was expected."""

import os
import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import support

FLOAT = TensorProto.FLOAT


def compile_fails(flashmem, model, tmp_path, says, *options):
    flashmem.fails(
        "compile",
        model,
        "-o",
        tmp_path / "out.flm",
        "--layout",
        "cpu",
        *options,
        says=[str(model), *([says] if isinstance(says, str) else says)],
    )
    assert not list(tmp_path.glob("out.flm*"))


def build(path, nodes, inputs=(("x", FLOAT, [2, 4]),), outputs=(("y", FLOAT, [2, 4]),), weights=None, **options):
    return support.save_model(
        path,
        nodes,
        [support.tensor(*i) for i in inputs],
        [support.tensor(*o) for o in outputs],
        weights or {},
        **options,
    )


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_truncated(flashmem, small_model, tmp_path):
    data = small_model.read_bytes()
    for length in [0, 1, 2, 10, 100, 1000, *range(5000, len(data) - 1, len(data) // 12), len(data) - 1]:
        path = tmp_path / "t.onnx"
        path.write_bytes(data[:length])
        compile_fails(flashmem, path, tmp_path, "")


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "the file is empty"),
        (b"not a model at all, but text", "not a valid ONNX file"),
        (b"\x08\x07", "it has no graph"),
        (b"\x00" * 100, "not a valid ONNX file"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a valid ONNX file"),
        (b"\x0b" * 4000, "not a valid ONNX file"),
    ],
)
def test_not_onnx(flashmem, tmp_path, data, says):
    path = tmp_path / "t.onnx"
    path.write_bytes(data)
    compile_fails(flashmem, path, tmp_path, says)


def test_flipped__an_error_or_what_onnx_runtime_says(flashmem, tmp_path):
    """Flips in the graph part (weights are external, and flips of theirs are other weights, not damage)."""
    good = support.mlp(tmp_path / "m.onnx", width=64, layers=2, external=True)
    data = good.read_bytes()
    rng = random.Random(4)
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    refused = answered = 0
    for i in range(60):
        path, out = tmp_path / f"f{i}.onnx", tmp_path / f"out{i}"
        at = rng.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        done = flashmem(
            "run", path, "--input", f"x={tmp_path}/x.npy", "--no-cache", "--output-dir", out, "--quiet", timeout=60
        )
        if done.code:
            refused += 1
            assert done.err.startswith("flashmem: "), done
            continue
        answered += 1
        try:
            want = support.reference(path, {"x": x})
        except Exception:  # ONNX Runtime is stricter: names it does not like, metadata
            continue
        got = support.load_folder(out)  # a flip may have renamed the output
        support.assert_close(dict(zip(want, got.values())), want)
    assert refused >= 15 and refused + answered == 60


def test_not_a_file(flashmem, tmp_path):
    flashmem.fails(
        "compile",
        tmp_path / "none.onnx",
        "-o",
        tmp_path / "p.flm",
        says=[f"{tmp_path}/none.onnx", "No such file or directory"],
    )
    flashmem.fails("compile", tmp_path, "-o", tmp_path / "p.flm", says=[f"{tmp_path}: is a folder"])
    os.mkfifo(tmp_path / "fifo.onnx")
    for command in (["compile", tmp_path / "fifo.onnx", "-o", tmp_path / "p.flm"], ["run", tmp_path / "fifo.onnx"]):
        flashmem.fails(*command, says="fifo.onnx", timeout=20)


# --- graphs ---------------------------------------------------------------------------------------------------------


def test_cycle(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx",
        [
            helper.make_node("Add", ["x", "b"], ["a"], "first"),
            helper.make_node("Relu", ["a"], ["c"], "second"),
            helper.make_node("Neg", ["c"], ["b"], "third"),
            helper.make_node("Abs", ["c"], ["y"], "last"),
        ],
    )
    compile_fails(
        flashmem,
        model,
        tmp_path,
        ["wait for each other in a cycle", "'first' (Add) reads 'b'", "'third' (Neg) reads 'c'"],
    )


def test_cycle__of_one(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "y"], ["y"], "self")])
    compile_fails(flashmem, model, tmp_path, ["cycle", "'self' (Add) reads 'y'"])


def test_unknown_operators__all_at_once(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx",
        [
            helper.make_node("Frobnicate", ["x"], ["a"], "one"),
            helper.make_node("Frobnicate", ["a"], ["b"], "two"),
            helper.make_node("Whirl", ["b"], ["c"], "three", domain="com.example"),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
    )
    compile_fails(
        flashmem,
        model,
        tmp_path,
        [
            "2 operators are not supported",
            "Frobnicate (ai.onnx, 2 nodes, first 'one'",
            "Whirl (com.example, 1 node, first 'three'",
        ],
    )


def test_tensor_from_nowhere(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "ghost"], ["y"], "haunted")])
    compile_fails(
        flashmem,
        model,
        tmp_path,
        "node 'haunted' (Add): input 1 is tensor 'ghost', which no node, input or initializer gives",
    )


def test_output_from_nowhere(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["a"])])
    compile_fails(flashmem, model, tmp_path, "output 'y' is made by no node, input or initializer")


def test_made_twice(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])])
    compile_fails(flashmem, model, tmp_path, "tensor 'y' is made twice")


@pytest.mark.parametrize(
    "nodes, weights, says",
    [
        (
            [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
            {"w": np.zeros((5, 4), np.float32)},
            ["'product' (MatMul)", "4", "5"],
        ),
        (
            [helper.make_node("Add", ["x", "w"], ["y"], "sum")],
            {"w": np.zeros((3, 4), np.float32)},
            ["'sum' (Add)", "2", "3"],
        ),
        (
            [helper.make_node("Add", ["x", "w"], ["y"], "sum")],
            {"w": np.zeros((2, 4), np.int64)},
            ["'sum' (Add)", "int64"],
        ),
        ([helper.make_node("Relu", [], ["y"], "bare")], {}, ["'bare' (Relu)"]),
        ([helper.make_node("Reshape", ["x", "s"], ["y"], "bend")], {"s": np.array([3, 3])}, ["'bend' (Reshape)"]),
        ([helper.make_node("Transpose", ["x"], ["y"], "turn", perm=[0, 2])], {}, ["'turn' (Transpose)"]),
        ([helper.make_node("Softmax", ["x"], ["y"], "soft", axis=2)], {}, ["'soft' (Softmax)", "2"]),
        (
            [helper.make_node("Gather", ["x", "w"], ["y"], "pick")],
            {"w": np.zeros(3, np.float32)},
            ["'pick' (Gather)", "float32"],
        ),
        (
            [helper.make_node("Concat", ["x", "w"], ["y"], "join", axis=0)],
            {"w": np.zeros((2, 5), np.float32)},
            ["'join' (Concat)", "5"],
        ),
        (
            [helper.make_node("Gemm", ["x", "w"], ["y"], "gemm")],
            {"w": np.zeros((4, 4, 4), np.float32)},
            ["'gemm' (Gemm)"],
        ),
        (
            [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
            {"w": np.zeros((4, 4, 3, 3), np.float32)},
            ["'conv' (Conv)"],
        ),
    ],
)
def test_wrong_shapes_and_types__name_node_and_operator(flashmem, tmp_path, nodes, weights, says):
    model = build(tmp_path / "m.onnx", nodes, weights=weights)
    flashmem.fails("compile", model, "-o", tmp_path / "out.flm", "--layout", "cpu", says=says)


def test_output_of_another_type_than_declared(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], outputs=[("y", TensorProto.INT64, [2, 4])]
    )
    compile_fails(flashmem, model, tmp_path, "output 'y' is declared int64, its node makes float32")


def test_old_opset(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], opset=9)
    compile_fails(flashmem, model, tmp_path, ["opset 9 is older than 11", "onnx.version_converter"])


def test_string_input(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], inputs=[("x", TensorProto.STRING, [2, 4])]
    )
    compile_fails(flashmem, model, tmp_path, "input 'x' has element type string")


def test_no_outputs(flashmem, tmp_path):
    model = build(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], outputs=[])
    compile_fails(flashmem, model, tmp_path, "the graph has no outputs")


def test_index_out_of_range__in_a_constant(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx", [helper.make_node("Gather", ["x", "i"], ["y"], "pick")], weights={"i": np.array([0, 2])}
    )
    flashmem.fails("compile", model, "-o", tmp_path / "out.flm", "--layout", "cpu", says=["'pick' (Gather)", "2"])


def test_deep_nesting(flashmem, tmp_path):
    """A message three thousand levels deep must not exhaust the stack."""
    data = b""
    for _ in range(3000):
        data = b"\x2a" + varint(len(data)) + data  # AttributeProto.g inside NodeProto.attribute, over and over
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x3a" + varint(len(data)) + data)
    compile_fails(flashmem, path, tmp_path, "")


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


# --- external data --------------------------------------------------------------------------------------------------


def test_external__missing(flashmem, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=1, external=True)
    (tmp_path / "m.onnx.bin").unlink()
    compile_fails(
        flashmem,
        model,
        tmp_path,
        [
            "tensor 'w0' needs 16384 bytes at offset 0",
            "m.onnx.bin', which does not exist: put the file beside the model",
        ],
    )


def test_external__cut_short(flashmem, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=2, external=True)
    os.truncate(tmp_path / "m.onnx.bin", 20000)
    compile_fails(flashmem, model, tmp_path, ["tensor 'w1'", "which has 20000 bytes: the file is cut short"])


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", ".."])
def test_external__path_that_escapes(flashmem, tmp_path, location):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 65536)
    model = support.mlp(tmp_path / "in" / "m.onnx", width=64, layers=1, external=True)
    change_external(model, location=location)
    compile_fails(
        flashmem,
        model,
        tmp_path,
        f"tensor 'w0' has external data at '{location}': a location must lie in the model's folder, without '..'",
    )


@pytest.mark.parametrize(
    "entry, says",
    [
        ({"offset": "-4"}, "offset '-4', expected bytes"),
        ({"offset": "1e3"}, "offset '1e3', expected bytes"),
        ({"length": "99999999999999999999999"}, "expected bytes"),
        ({"length": "16380"}, "16380 bytes of external data, its type and shape need 16384"),
        ({"offset": "9223372036854775807"}, "at offset 9223372036854775807"),
        ({"location": ""}, "external data without a location"),
    ],
)
def test_external__malformed_entries(flashmem, tmp_path, entry, says):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=1, external=True)
    change_external(model, **entry)
    compile_fails(flashmem, model, tmp_path, ["tensor 'w0'", says])


def change_external(path, **entries):
    model = onnx.load(path, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.name == "w0")
    for key, value in entries.items():
        found = [e for e in tensor.external_data if e.key == key]
        if found:
            found[0].value = value
        else:
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def test_inline__data_of_the_wrong_size(flashmem, tmp_path):
    model = build(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        weights={"w": np.zeros((4, 4), np.float32)},
    )
    proto = onnx.load(model)
    proto.graph.initializer[0].raw_data = b"\0" * 60
    model.write_bytes(proto.SerializeToString())
    compile_fails(flashmem, model, tmp_path, ["tensor 'w' (float32 4x4)", "64"])


@pytest.mark.parametrize("dims", [[-1, 4], [2**31, 2**31, 2**31], [2**62, 4], [2**40, 2**24]])
def test_inline__impossible_dimensions(flashmem, tmp_path, dims):
    model = build(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        weights={"w": np.zeros((4, 4), np.float32)},
    )
    proto = onnx.load(model)
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    model.write_bytes(proto.SerializeToString())
    compile_fails(flashmem, model, tmp_path, "tensor 'w'")
