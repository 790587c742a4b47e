#!/usr/bin/env python3
"""Compares kernel rows with ONNX Runtime, shape by shape, alternating in the same minutes.

    ort_kernels.py build/release/bench/kernels [--rounds 5] [--threads N] [--half] [--model NAME] [--json FILE]

Each shape of `kernels --list` becomes a one-node ONNX model (MatMul, or Conv with bias), run with N (two)
intra-op threads and outputs bound; the row gets as many
through POCL_MAX_PTHREAD_COUNT, one per core as ONNX Runtime places its own.  A round times ONNX Runtime, then the row; rates are of the fastest repeat of all rounds, and of the
median over rounds of each round's median.  The ratio printed is rate(row) / rate(ONNX Runtime).
"""
import argparse, json, math, os, statistics, subprocess, sys, time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def operation(shape):
    """(node inputs as arrays, constant names, node, flops) of a shape."""
    rng, s = np.random.default_rng(1), shape["size"]
    rand = lambda *dims: rng.uniform(-1, 1, dims).astype(np.float32)
    if shape["family"] == "matmul":
        m, k, n = s[:3]
        return {"x": rand(1, m, k), "w": rand(k, n)}, ["w"], helper.make_node("MatMul", ["x", "w"], ["y"]), 2 * m * k * n
    if shape["family"] == "conv":
        c, h, o, kernel, stride, pad = s[:6]
        node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        out = (h + 2 * pad - kernel) // stride + 1
        return {"x": rand(1, c, h, h), "w": rand(o, c, kernel, kernel), "b": rand(o)}, ["w", "b"], node, \
            2 * c * kernel * kernel * o * out * out
    b, m, k, n = s[:4]
    return {"x": rand(1, b, m, k), "w": rand(1, b, k, n)}, [], helper.make_node("MatMul", ["x", "w"], ["y"]), 2 * b * m * k * n


class Peer:
    def __init__(self, shape, threads):
        arrays, constants, node, self.flops = operation(shape)
        inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in arrays.items() if n not in constants]
        graph = helper.make_graph([node], "one", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                                  [numpy_helper.from_array(arrays[n], n) for n in constants])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {n: a for n, a in arrays.items() if n not in constants}
        y = self.session.run(None, feeds)[0]
        self.binding = self.session.io_binding()
        self.values = {n: ort.OrtValue.ortvalue_from_numpy(a) for n, a in feeds.items()}
        for name, value in self.values.items():
            self.binding.bind_ortvalue_input(name, value)
        self.y = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(y))
        self.binding.bind_ortvalue_output("y", self.y)

    def times(self, repeats):
        samples = []
        for i in range(repeats + 3):
            start = time.perf_counter()
            self.session.run_with_iobinding(self.binding)
            samples.append(time.perf_counter() - start)
        return samples[3:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--model", help="comma-separated")
    parser.add_argument("--json")
    options = parser.parse_args()
    listed = subprocess.run([options.kernels, "--list"], check=True, capture_output=True, text=True).stdout
    shapes = [json.loads(line) for line in listed.splitlines()]
    environment = dict(os.environ, POCL_MAX_PTHREAD_COUNT=str(options.threads), POCL_AFFINITY="1")
    rows = []
    print(f"ONNX Runtime {ort.__version__}, {options.threads} threads, {options.rounds} rounds of {options.repeats}")
    print(f"{'shape':34} {'row':18} {'GFLOPS best':>11} {'ORT':>7} {'ratio':>6}   {'median':>7} {'ORT':>7} {'ratio':>6}")
    for shape in shapes:
        if options.model and shape["model"] not in options.model.split(","):
            continue
        peer, theirs, ours, mins, row = Peer(shape, options.threads), [], [], [], None
        fastest = math.inf
        for _ in range(options.rounds):
            samples = peer.times(options.repeats)
            theirs.append(statistics.median(samples))
            fastest = min(fastest, *samples)
            command = [options.kernels, "--shape", shape["shape"], "--repeats", str(options.repeats)] + ["--half"] * options.half
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            line = next(x for x in map(json.loads, output.splitlines()) if x["shape"] == shape["shape"])
            row = line["row"]
            ours.append(line["us_median"] * 1e-6)
            mins.append(line["us_min"] * 1e-6)
        rate = lambda seconds: peer.flops / seconds * 1e-9
        median, peer_median = statistics.median(ours), statistics.median(theirs)
        result = {"shape": shape["shape"], "model": shape["model"], "row": row, "gflops_best": rate(min(mins)),
                  "ort_best": rate(fastest), "ratio_best": fastest / min(mins), "gflops_median": rate(median),
                  "ort_median": rate(peer_median), "ratio_median": peer_median / median}
        rows.append(result)
        print(f"{result['shape']:34} {row:18} {result['gflops_best']:11.1f} {result['ort_best']:7.1f} {result['ratio_best']:6.2f}"
              f"   {result['gflops_median']:7.1f} {result['ort_median']:7.1f} {result['ratio_median']:6.2f}", flush=True)
    models = [r for r in rows if r["model"] != "other"] or rows
    for key in ("ratio_best", "ratio_median"):
        geometric = math.exp(statistics.mean(math.log(r[key]) for r in models))
        lowest = min(models, key=lambda r: r[key])
        print(f"{key}: geometric mean {geometric:.3f}, lowest {lowest[key]:.2f} ({lowest['shape']}), {len(models)} shapes")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
