#!/usr/bin/env python3
"""Planned peak over what is alive at once, of automatic plans of every zoo model, as a Markdown table.

    bench/placement.py [--models a,b] [--weights fp16,fp32] [--whole]

Each cell is planned_peak_bytes / live_bound_bytes of `flashmem plan MODEL --budget auto --device null --disk-rate 1G`, in
the cpu and the texture layout, in slabs as the planner chooses them and (whole) with no weight cut; `minimum` is the promised
minimum over its bound.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHAPES = {"minilm-l6-dynamic": ["--shape", "batch=1", "--shape", "sequence=128"]}


def memory(program, model, *extra):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "plan.json"
        command = [program, "plan", model, "--device", "null", "--disk-rate", "1G", "--budget", "auto", "--json", report]
        done = subprocess.run([*map(str, command), *extra], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return json.loads(report.read_text())["memory"] if done.returncode == 0 else done.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/flashmem")
    parser.add_argument("--skeletons", type=pathlib.Path, default=ROOT / "build/skeletons")
    parser.add_argument("--models", default="")
    parser.add_argument("--weights", default="fp16,fp32")
    parser.add_argument("--at-most", type=float, default=0, help="exit code 1 where a ratio is above")
    arguments = parser.parse_args()
    models = arguments.models.split(",") if arguments.models else sorted(p.stem for p in arguments.skeletons.glob("*.onnx"))
    formats, above = arguments.weights.split(","), 0
    columns = [(w, layout, cut) for w in formats for layout in ("cpu", "texture") for cut in ("slabs", "whole")]
    print("| model | " + " | ".join(" ".join(c) for c in columns) + " | minimum |")
    print("|---" * (len(columns) + 2) + "|")
    for model in models:
        cells, found = [], None
        for weights, layout, cut in columns:
            extra = ["--weights", weights, "--layout", layout, *SHAPES.get(model, [])]
            if cut == "whole":
                extra += ["--slab", "1000GiB"]
            m = memory(arguments.program, arguments.skeletons / f"{model}.onnx", *extra)
            if isinstance(m, str):
                cells.append(m[:80])
                continue
            ratio = m["planned_peak_bytes"] / m["live_bound_bytes"]
            above += arguments.at_most > 0 and ratio > arguments.at_most
            found = found or m
            cells.append(f"{m['planned_peak_bytes'] / 1e6:.1f} MB {ratio:.3f}")
        least = f"{found['minimum_budget_bytes'] / found['minimum_bound_bytes']:.4f}" if found else ""
        print(f"| {model} | " + " | ".join(cells) + f" | {least} |", flush=True)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
