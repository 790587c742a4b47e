#!/usr/bin/env python3
"""ONNX Runtime as a peer of `flashmem bench --peer`: one fresh process, one JSON object on standard output.

Usage: onnxruntime_cold.py MODEL.onnx [--variant default|cold|nopack] [--threads N] [--inputs FILE.npz|DIR]

Variants, each ONNX Runtime's own options:
  default  every graph optimisation, weights repacked at load
  cold     optimisation "basic" and session.disable_prepacking=1: weights stay in the mapped file; its fastest start
  nopack   every optimisation and session.disable_prepacking=1

integrated_ms runs from after the imports: session creation, inputs ready beforehand, first outputs in host memory.
The page cache is dropped by the caller.  FLASHMEM_PEER_WARM=N adds the median of N further runs as warm_ms.
Inputs: floats uniform in [-1, 1), integers below the smallest axis they index (read from the graph), masks 1."""
import argparse, json, os, resource, statistics, time

import numpy as np
import onnxruntime as ort

TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
         "tensor(float16)": np.float16, "tensor(double)": np.float64}


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--variant", choices=["default", "cold", "nopack"], default="cold")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--inputs", help="folder of .npy files or an .npz")
    p.add_argument("--shape", action="append", default=[], help="NAME=1x128 for symbolic inputs, or a dimension NAME=128")
    p.add_argument("--limit", type=int, default=2, help="integer inputs lie below this")
    return p.parse_args()


def options(variant, threads):
    so = ort.SessionOptions()
    so.log_severity_level = 3
    if threads:
        so.intra_op_num_threads = threads
    if variant == "cold":
        so.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if variant != "default":
        so.add_session_config_entry("session.disable_prepacking", "1")
    return so


def load_inputs(path):
    if path.endswith(".npz"):
        with np.load(path) as z:
            return {k: z[k] for k in z.files}
    return {f[:-4]: np.load(os.path.join(path, f)) for f in os.listdir(path) if f.endswith(".npy")}


def generate(session, args):
    fixed = dict(s.rsplit("=", 1) for s in args.shape)
    rng = np.random.default_rng(1)
    feeds = {}
    for i in session.get_inputs():
        if i.name in fixed:
            shape = [int(d) for d in fixed[i.name].split("x")]
        else:
            shape = [int(fixed.get(d, 1)) if isinstance(d, str) else d or 1 for d in i.shape]
        dtype = TYPES[i.type]
        if np.issubdtype(dtype, np.floating):
            feeds[i.name] = (rng.random(shape) * 2 - 1).astype(dtype)
        elif "mask" in i.name or dtype is np.bool_:
            feeds[i.name] = np.ones(shape, dtype)
        else:
            feeds[i.name] = rng.integers(0, args.limit, shape, dtype=dtype)
    return feeds


def main():
    args = parse()
    given = load_inputs(args.inputs) if args.inputs else None
    warm_runs = int(os.environ.get("FLASHMEM_PEER_WARM", "0"))
    began = time.perf_counter()
    session = ort.InferenceSession(args.model, options(args.variant, args.threads), providers=["CPUExecutionProvider"])
    loaded = time.perf_counter()
    feeds = given or generate(session, args)
    ready = time.perf_counter()
    session.run(None, feeds)
    done = time.perf_counter()
    result = {"name": f"ONNX Runtime {ort.__version__} {args.variant}", "load_ms": (loaded - began) * 1e3,
              "first_ms": (done - ready) * 1e3, "integrated_ms": (loaded - began + done - ready) * 1e3,
              "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if warm_runs:
        times = []
        for _ in range(warm_runs):
            t = time.perf_counter()
            session.run(None, feeds)
            times.append((time.perf_counter() - t) * 1e3)
        result["warm_ms"] = statistics.median(times)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
