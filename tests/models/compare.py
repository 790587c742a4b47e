"""Runs of a whole model against ONNX Runtime's answers."""
import re

import numpy as np
import onnx
import onnxruntime
from support import load_folder, reference

ELEMENTS = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.INT64: np.int64, onnx.TensorProto.INT32: np.int32,
            onnx.TensorProto.BOOL: np.bool_}
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}
COSINE = 0.9995


def model_feeds(path, sizes=None, seed=0, words=50, padded=False):
    """Inputs for a model: floats in [-1, 1), ids below `words`, masks 1 (padded: 0 at the end, different per row)."""
    model = onnx.load(path, load_external_data=False)
    constants = {t.name for t in model.graph.initializer}
    rng, feeds = np.random.default_rng(seed), {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        shape = [d.dim_value or (sizes or {}).get(d.dim_param, 1) for d in value.type.tensor_type.shape.dim]
        kind = ELEMENTS[value.type.tensor_type.elem_type]
        if "mask" in value.name:
            feed = np.ones(shape, kind)
            for row in range(shape[0] if padded else 0):
                feed[row, shape[1] - 2 - 3 * row:] = 0
        elif kind == np.float32:
            feed = rng.uniform(-1, 1, shape).astype(kind)
        else:
            feed = rng.integers(0, 2 if "type" in value.name else words, shape).astype(kind)
        feeds[value.name] = feed
    return feeds


def symbolic(path):
    """Names of symbolic dimensions of the inputs."""
    model = onnx.load(path, load_external_data=False)
    return {d.dim_param for v in model.graph.input for d in v.type.tensor_type.shape.dim if d.dim_param}


def file_name(tensor):
    return re.sub(r"[^A-Za-z0-9._-]", "_", tensor)


def differences(got, want):
    """{name: (max |a - b| / max |b|, cosine)}; arrays without elements and all-zero wants count as exact or infinite."""
    found = {}
    for name, b in want.items():
        a, b = got[file_name(name)].astype(np.float64), b.astype(np.float64)
        assert a.shape == b.shape, f"{name}: shape {a.shape}, {b.shape} wanted"
        scale = np.abs(b).max() if b.size else 0
        worst = np.abs(a - b).max() if b.size else 0
        ratio = worst / scale if scale else (0.0 if worst == 0 else np.inf)
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        found[name] = (ratio if np.isfinite(a).all() else np.inf, float((a * b).sum() / lengths) if lengths else 1.0)
    return found


def assert_equal_enough(got, want, weights="fp32"):
    for name, (ratio, cosine) in differences(got, want).items():
        assert ratio <= TOLERANCE[weights], f"{name}: off by {ratio:.2e} of the greatest value"
        assert cosine >= COSINE, f"{name}: cosine {cosine}"


def run(flashmem, folder, model, feeds, *options):
    """Outputs by file name, and the report, of `flashmem run`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays, out = folder / "feeds.npz", folder / "out"
    np.savez(arrays, **feeds)
    report = flashmem.report("run", model, "--input", arrays, "--output-dir", out, "--quiet", *options, folder=folder,
                             timeout=600)
    return load_folder(out), report


def intermediates(model, feeds, names, path):
    """{name: array} for those tensors of the graph, by ONNX Runtime without optimisation.  path: a file to write beside
    the model's external data."""
    loaded = onnx.load(model, load_external_data=False)
    made = {o for n in loaded.graph.node for o in n.output} - {o.name for o in loaded.graph.output}
    by_file = {file_name(name): name for name in made}
    for name in names:
        if name in by_file:
            loaded.graph.output.append(onnx.ValueInfoProto(name=by_file[name]))
    onnx.save(loaded, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, feeds)))


__all__ = ["assert_equal_enough", "differences", "file_name", "intermediates", "model_feeds", "reference", "run", "symbolic",
           "TOLERANCE"]
