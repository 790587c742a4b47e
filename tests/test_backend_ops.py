"""The ONNX project's own operator cases (onnx.backend.test), twice.

Folding: every case with its inputs made constants goes through import and folding (build folder's tests/fold_outputs);
what folds must equal the expected outputs, whichever case it is.
Device: the cases run through the program under test, many merged into one model, on the default device.

backend_ops.txt lists the cases this project claims, `fold` and/or `run`; a claimed case that fails is a failure, others are
counted.  `pytest tests/test_backend_ops.py --update-goldens` writes the list anew from what passes: read the difference.
"""
import subprocess
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import support

CLAIMS = Path(__file__).with_name("backend_ops.txt")
OLDEST_OPSET, BATCH = 11, 48
# Inputs that decide shapes, and weights of convolutions, must be constants: operator -> positions.
CONSTANT_INPUTS = {
    "Reshape": [1], "Expand": [1], "Slice": [1, 2, 3, 4], "Squeeze": [1], "Unsqueeze": [1], "Pad": [1, 2, 3], "Tile": [1],
    "Resize": [1, 2, 3], "TopK": [1], "Split": [1], "ConstantOfShape": [0], "Range": [0, 1, 2], "CumSum": [1], "OneHot": [1],
    "Trilu": [1], "Dropout": [1, 2], "NonZero": [0], "Conv": [1], "ConvTranspose": [1],
}
CONSTANT_INPUTS |= {f"Reduce{kind}": [1]
                    for kind in ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSum", "LogSumExp")}
# Results that differ for a reason: what ONNX Runtime gives is what counts here.
DIFFERENT = {"test_resize_downsample_scales_linear_align_corners": "the suite aligns to an unrounded length",
             "test_resize_downsample_scales_cubic_align_corners": "the suite aligns to an unrounded length"}


@dataclass
class Case:
    name: str
    model: onnx.ModelProto
    opset: int
    inputs: list   # TensorProto, named
    outputs: list  # arrays
    tolerance: float


def as_tensor(value, info):
    made = onnx.TensorProto()
    made.CopyFrom(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), info.name))
    made.name = info.name
    return made if made.data_type == info.type.tensor_type.elem_type else None


def convert(case):
    """None where the case is not about tensors of ai.onnx."""
    domains = {o.domain: o.version for o in case.model.opset_import}
    graph = case.model.graph
    if case.data_sets is None or set(domains) - {"", "ai.onnx"} or domains.get("", 0) < OLDEST_OPSET:
        return None
    given, wanted = case.data_sets[0]
    if len(given) != len(graph.input) or any(isinstance(a, (list, dict)) or a is None for a in [*given, *wanted]):
        return None
    try:
        inputs = [as_tensor(a, info) for info, a in zip(graph.input, given)]
        outputs = [numpy_helper.to_array(a) if isinstance(a, TensorProto) else np.asarray(a) for a in wanted]
    except (NotImplementedError, TypeError, ValueError):  # types numpy does not have
        return None
    if None in inputs or any(o.dtype.kind in "OUS" for o in outputs):
        return None
    return Case(case.name, case.model, domains[""], inputs, outputs, max(case.rtol, 1e-3))


@pytest.fixture(scope="module")
def cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [convert(c) for c in collect_testcases(None) if c.kind == "node"]
    return [c for c in found if c and c.name not in DIFFERENT]


def differs(case, got):
    """What is wrong, or None."""
    for i, (a, b) in enumerate(zip(got, case.outputs)):
        if b.dtype.name == "bfloat16" and a.dtype == np.uint16:  # .npy has no such type: the bits
            a = a.view(b.dtype)
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {a.dtype}{a.shape}, expected {b.dtype}{b.shape}"
        tolerance = 1e-2 if b.dtype.itemsize == 2 and b.dtype.kind not in "iub" else case.tolerance
        x, y = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(y)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return f"output {i}: infinities or NaN differ"
        scale = np.abs(y[finite]).max(initial=0)
        worst = np.abs(x[finite] - y[finite]).max(initial=0)
        if not worst <= (tolerance * scale if b.dtype.kind not in "iub" else 0):
            return f"output {i} is off by {worst:g}, greatest value {scale:g}"
    return None


# --- claims ---------------------------------------------------------------------------------------------------------

def read_claims(kind):
    rows = [line.split() for line in CLAIMS.read_text().splitlines() if line and not line.startswith("#")]
    return {name for name, *kinds in rows if kind in kinds}


def write_claims(kind, passed):
    other = {"fold": "run", "run": "fold"}[kind]
    kept = read_claims(other) if CLAIMS.exists() else set()
    rows = [" ".join([name, *sorted({kind} & {kind if name in passed else ""} | {other} & {other if name in kept else ""})])
            for name in sorted(passed | kept)]
    CLAIMS.write_text("# Cases of onnx.backend.test that pass: folded on the host, run on the device (test_backend_ops.py).\n" +
                      "\n".join(rows) + "\n")


def judge(request, kind, passed, failed, cases, folder):
    """failed: name -> why, of every case that did not pass; all of it goes to folder."""
    (folder / f"{kind}.txt").write_text("".join(f"{n}: {why}\n" for n, why in sorted(failed.items())))
    print(f"\nbackend cases, {kind}: {len(passed)} of {len(cases)} pass; others: "
          + ", ".join(f"{n} {why}" for why, n in Counter(w.split(":")[0] for w in failed.values()).most_common(4)))
    if request.config.getoption("--update-goldens"):
        write_claims(kind, passed)
    names = {c.name for c in cases}
    broken = {n: failed.get(n, "no such case") for n in sorted(read_claims(kind) & names - passed)}
    assert len(read_claims(kind) & names) > 100, "the suite of this onnx package has hardly any claimed case"
    assert not broken, f"{len(broken)} claimed cases fail: " + "; ".join(f"{n}: {why}" for n, why in broken.items())


# --- folding --------------------------------------------------------------------------------------------------------

def with_constants(case):
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.initializer.extend(case.inputs)
    del model.graph.input[:]
    return model


def folded(case, path, lines):
    """(arrays or None where something stays at run time, complaint or None)"""
    if lines and lines[0].startswith("fail"):
        return None, lines[0][5:]
    got = []
    for line, wanted in zip(lines, case.outputs):
        _, index, dtype, kind, *dims = line.split()
        found = helper.tensor_dtype_to_np_dtype(int(dtype))
        if tuple(map(int, dims)) != wanted.shape or found != wanted.dtype:
            return got, f"wrong type or shape: {found} {dims}, expected {wanted.dtype} {wanted.shape}"
        if kind != "constant":
            return None, "stays at run time"
        got.append(np.fromfile(f"{path}.{index}.bin", wanted.dtype).reshape(wanted.shape))
    return got, None


def test_folding(request, cases, tmp_path):
    tool = support.BUILD / "tests" / "fold_outputs"
    assert tool.exists(), f"{tool} is missing: build it"
    paths = {}
    for case in cases:
        paths[case.name] = tmp_path / f"{case.name}.onnx"
        paths[case.name].write_bytes(with_constants(case).SerializeToString())
    done = subprocess.run([tool], input="".join(f"{p}\n" for p in paths.values()), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = {}
    for line in done.stdout.splitlines():
        if line.startswith("model "):
            at = lines.setdefault(line[6:], [])
        else:
            at.append(line)
    passed, failed, wrong = set(), {}, {}
    for case in cases:
        got, why = folded(case, paths[case.name], lines[str(paths[case.name])])
        if why is None:
            why = differs(case, got)
            if why:
                wrong[case.name] = why
        elif why.startswith("wrong"):
            wrong[case.name] = why
        if why:
            failed[case.name] = why
        else:
            passed.add(case.name)
    assert not wrong, wrong
    judge(request, "fold", passed, failed, cases, tmp_path)


# --- device ---------------------------------------------------------------------------------------------------------

def has_body(graph):
    return any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for n in graph.node for a in n.attribute)


def constant_inputs(graph):
    """Names of inputs that must be constants."""
    return {node.input[i] for node in graph.node for i in CONSTANT_INPUTS.get(node.op_type, []) if i < len(node.input)}


def merge(cases, path):
    """One model of all cases, each with a prefix; returns its feeds."""
    nodes, inputs, outputs, constants, feeds = [], [], [], [], {}
    for k, case in enumerate(cases):
        graph, decided = case.model.graph, constant_inputs(case.model.graph)
        rename = {o.name: f"c{k}_o{i}" for i, o in enumerate(graph.output)}
        full = lambda name: rename.get(name, f"c{k}_{name}") if name else ""
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{case.name}/{node.name or node.output[0]}"
            copy.input[:] = [full(n) for n in node.input]
            copy.output[:] = [full(n) for n in node.output]
            nodes.append(copy)
        for t in [*graph.initializer, *(t for t in case.inputs if t.name in decided)]:
            copy = onnx.TensorProto()
            copy.CopyFrom(t)
            copy.name = full(t.name)
            constants.append(copy)
        for t in case.inputs:
            if t.name not in decided:
                feeds[full(t.name)] = numpy_helper.to_array(t)
                inputs.append(support.tensor(full(t.name), t.data_type, t.dims))
        for i, o in enumerate(case.outputs):
            outputs.append(support.tensor(f"c{k}_o{i}", helper.np_dtype_to_tensor_dtype(o.dtype), o.shape))
    graph = helper.make_graph(nodes, "cases", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", cases[0].opset)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return feeds


def run_merged(flashmem, cases, folder, failed, passed):
    """Runs the cases together; where that fails, each half alone."""
    path, feeds = folder / "cases.onnx", merge(cases, folder / "cases.onnx")
    np.savez(folder / "feeds.npz", **feeds)
    for old in folder.glob("out/*.npy"):
        old.unlink()
    given = ["--input", folder / "feeds.npz"] if feeds else ["--random-inputs", 1]
    result = flashmem("run", path, *given, "--output-dir", folder / "out", "--no-cache", "--quiet", timeout=600)
    if result.code == 0:
        for k, case in enumerate(cases):
            why = differs(case, [np.load(folder / "out" / f"c{k}_o{i}.npy") for i in range(len(case.outputs))])
            if why:
                failed[case.name] = f"wrong: {why}"
            else:
                passed.add(case.name)
    elif len(cases) == 1:
        failed[cases[0].name] = result.err.strip().splitlines()[-1]
    else:
        half = len(cases) // 2
        run_merged(flashmem, cases[:half], folder, failed, passed)
        run_merged(flashmem, cases[half:], folder, failed, passed)


def test_device(request, cases, flashmem, tmp_path):
    claimed, update = read_claims("run") if CLAIMS.exists() else set(), request.config.getoption("--update-goldens")
    passed, failed, groups = set(), {}, {}
    for case in cases:
        if case.name not in claimed and not update:
            failed[case.name] = "not claimed"
        elif has_body(case.model.graph) or any(0 in o.shape for o in case.outputs):
            failed[case.name] = "has a body or an empty output"
        else:
            groups.setdefault(case.opset, []).append(case)
    for members in groups.values():
        for at in range(0, len(members), BATCH):
            run_merged(flashmem, members[at:at + BATCH], tmp_path, failed, passed)
    wrong = {n: why for n, why in failed.items() if why.startswith("wrong")}
    judge(request, "run", passed, failed, cases, tmp_path)
    assert not wrong, wrong
