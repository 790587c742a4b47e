"""What Python tests share: running the program under test, small models, and ONNX Runtime's answers.

FLASHMEM_BUILD names the build folder (build/release), FLASHMEM_MODELS the folder of complete zoo models (build/models),
FLASHMEM_SKELETONS that of all zoo models without weights (build/skeletons).
"""
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("FLASHMEM_BUILD", ROOT / "build" / "release"))
MODELS = Path(os.environ.get("FLASHMEM_MODELS", ROOT / "build" / "models"))
SKELETONS = Path(os.environ.get("FLASHMEM_SKELETONS", ROOT / "build" / "skeletons"))
FLASHMEM = BUILD / "flashmem"
OPSET = 17

# Runs a command in a child of a small process and prints the child's greatest resident set: exec keeps the high-water
# mark of the process it replaces, so a child of this (large) Python would inherit ours.
_PEAK = ("import os,sys\n"
         "pid=os.posix_spawn(sys.argv[2],sys.argv[2:],os.environ)\n"
         "_,status,usage=os.wait4(pid,0)\n"
         "open(sys.argv[1],'w').write(str(usage.ru_maxrss*1024))\n"
         "sys.exit(os.waitstatus_to_exitcode(status))")


@dataclass
class Result:
    code: int
    out: str
    err: str

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Program:
    """The command line with an environment of its own: caches in `cache`, no FLASHMEM_* variable of the caller's."""

    def __init__(self, cache, path=FLASHMEM):
        self.path = str(path)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("FLASHMEM_")}
        self.env["FLASHMEM_CACHE_DIR"] = str(cache)

    def environment(self, changes):
        env = self.env | {k: str(v) for k, v in (changes or {}).items() if v is not None}
        return {k: v for k, v in env.items() if not (changes and k in changes and changes[k] is None)}

    def start(self, *args, env=None, **popen):
        # A shell starts background jobs with SIGINT ignored; children must not inherit that.
        popen.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        return subprocess.Popen([self.path, *map(str, args)], env=self.environment(env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", **popen)

    def __call__(self, *args, env=None, timeout=120, **popen):
        """Runs to the end.  A signal, a hang or a sanitizer's report is a failure whatever the test expects."""
        child = self.start(*args, env=env, **popen)
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"flashmem {' '.join(map(str, args))}: no end within {timeout} s\n{out}\n{err}") from None
        result = Result(child.returncode, out, err)
        assert result.code in (0, 1, 2), f"flashmem {' '.join(map(str, args))}: {died(result.code)}\n{result}"
        assert "runtime error: " not in err and "Sanitizer" not in err, str(result)  # of a sanitized build
        return result

    def ok(self, *args, **options):
        result = self(*args, **options)
        assert result.code == 0, f"flashmem {' '.join(map(str, args))}\n{result}"
        return result

    def fails(self, *args, says, code=1, **options):
        """The request must fail with this exit code, and standard error must hold every text of `says`."""
        result = self(*args, **options)
        assert result.code == code, f"flashmem {' '.join(map(str, args))}\n{result}"
        for text in [says] if isinstance(says, str) else says:
            assert text in result.err, f"no '{text}' in the message of flashmem {' '.join(map(str, args))}\n{result}"
        return result

    def report(self, *args, folder, **options):
        """Runs with --json and returns what it wrote."""
        path = Path(folder) / "report.json"
        self.ok(*args, "--json", path, **options)
        return json.loads(path.read_text())

    def peak_bytes(self, *args, env=None, timeout=120, folder=None):
        """Greatest resident set of the process, as wait4 says."""
        note = Path(folder) / "peak.txt"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _PEAK, str(note), self.path, *map(str, args)],
                              env=self.environment(env), capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return int(note.read_text())


def died(code):
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def zoo(name):
    """A complete zoo model; `make models` writes them."""
    path = MODELS / f"{name}.onnx"
    assert path.exists(), f"{path} is missing: run 'make models', or set FLASHMEM_MODELS"
    return path


def skeleton(name):
    """A zoo model without its weights, enough to plan it; `make models` unpacks them."""
    path = SKELETONS / f"{name}.onnx"
    assert path.exists(), f"{path} is missing: run 'make models', or set FLASHMEM_SKELETONS"
    return path


# --- small models ---------------------------------------------------------------------------------------------------

def tensor(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def save_model(path, nodes, inputs, outputs, weights, external=False, opset=OPSET):
    """weights: name -> array.  external: they go to PATH.bin."""
    initializers = [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path = Path(path)
    if external:
        onnx.save_model(model, str(path), save_as_external_data=True, location=path.name + ".bin", size_threshold=0)
    else:
        path.write_bytes(model.SerializeToString())
    return path


def mlp(path, width=256, layers=3, rows=4, seed=0, **options):
    """x [rows, width] -> `layers` of MatMul, Add, Relu -> y; float32 weights of width^2 * 4 bytes each."""
    rng = np.random.default_rng(seed)
    nodes, weights, at = [], {}, "x"
    for i in range(layers):
        weights[f"w{i}"] = (rng.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)
        weights[f"b{i}"] = rng.standard_normal(width).astype(np.float32)
        to = "y" if i == layers - 1 else f"h{i}"
        nodes += [helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"], f"matmul{i}"),
                  helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], f"add{i}"),
                  helper.make_node("Relu", [f"a{i}"], [to], f"relu{i}")]
        at = to
    shape = [rows, width]
    return save_model(path, nodes, [tensor("x", TensorProto.FLOAT, shape)], [tensor("y", TensorProto.FLOAT, shape)],
                      weights, **options)


def embedder(path, words=1000, width=64, rows=2, columns=8, seed=0, **options):
    """ids int64 [rows, columns] -> rows of a table [words, width] -> MatMul -> y."""
    rng = np.random.default_rng(seed)
    weights = {"table": rng.standard_normal((words, width)).astype(np.float32),
               "w": rng.standard_normal((width, width)).astype(np.float32)}
    nodes = [helper.make_node("Gather", ["table", "ids"], ["e"], "embed"),
             helper.make_node("MatMul", ["e", "w"], ["y"], "project")]
    return save_model(path, nodes, [tensor("ids", TensorProto.INT64, [rows, columns])],
                      [tensor("y", TensorProto.FLOAT, [rows, columns, width])], weights, **options)


# --- what ONNX Runtime says ----------------------------------------------------------------------------------------

def reference(model, feeds):
    """{output name: array} by ONNX Runtime on the same file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def load_folder(folder):
    """{file name without .npy: array}"""
    return {p.stem: np.load(p) for p in sorted(Path(folder).glob("*.npy"))}


def assert_close(got, want, tolerance=1e-3):
    """max |a - b| <= tolerance * max |b| for every output."""
    assert sorted(got) == sorted(want)
    for name, b in want.items():
        a = got[name]
        assert a.shape == b.shape and a.dtype == b.dtype, f"{name}: {a.dtype}{a.shape}, {b.dtype}{b.shape} wanted"
        a, b = a.astype(np.float64), b.astype(np.float64)
        worst, scale = (np.abs(a - b).max(), np.abs(b).max()) if b.size else (0, 0)
        assert np.isfinite(a).all() and worst <= tolerance * scale, f"{name}: off by {worst:g}, greatest value {scale:g}"
