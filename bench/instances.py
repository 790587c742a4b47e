#!/usr/bin/env python3
"""Solves the instances of docs/planning.md with labels and with CP-SAT and prints a Markdown table.

    bench/instances.py [--models a,b] [--forms u:A,f:C] [--chunks 1MiB,256KiB] [--slabs whole,16MiB] [--cpsat SECONDS]

Figures are those of `flashmem plan MODEL --instance FORM --json FILE`: import is not counted in seconds.  CP-SAT is given
SECONDS (60) for each instance; 0 leaves it out.  Exit code 1 where the two disagree.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PUBLISHED = "gptn-s gptn-1.3b gptn-2.7b vit-8b llama2-13b llama2-70b".split()


def plan(program, model, form, chunk, slab, *extra):
    """The `plan` object of the report, or the text of the failure."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "plan.json"
        command = [program, "plan", model, "--instance", form, "--chunk", chunk, "--json", report, *extra]
        if slab != "whole":
            command += ["--slab", slab]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            return done.stderr.strip().removeprefix("flashmem: ")
        return json.loads(report.read_text())["plan"]


def certificate(found, labels):
    """CP-SAT's cell, and whether it agrees with labels."""
    if isinstance(found, str):
        size = found.split(" has ")[-1].split(",")[0] if "booleans" in found else found[:60]
        return f"refused: {size}", True
    if found["status"] != "OPTIMAL":
        holds = found["bound"] <= labels["objective"] + 1e-6
        return f"gap {found['gap'] * 100:.2f} % in {found['seconds']:.0f} s", holds
    return f"{found['seconds']:.2f}", abs(found["objective"] - labels["objective"]) < 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/flashmem")
    parser.add_argument("--skeletons", type=pathlib.Path, default=ROOT / "build/skeletons")
    parser.add_argument("--models", default=",".join(PUBLISHED))
    parser.add_argument("--forms", default="u:A,u:B,u:C,f:A,f:B,f:C")
    parser.add_argument("--chunks", default="1MiB,256KiB")
    parser.add_argument("--slabs", default="whole,16MiB")
    parser.add_argument("--cpsat", type=float, default=60)
    arguments = parser.parse_args()
    print("| model | instance | chunk | slabs | steps | weights | objective | labels | s | CP-SAT s |\n" + "|---" * 10 + "|")
    wrong, slowest = 0, {}
    for model in arguments.models.split(","):
        path = arguments.skeletons / f"{model}.onnx"
        for slab in arguments.slabs.split(","):
            for chunk in arguments.chunks.split(","):
                for form in arguments.forms.split(","):
                    labels = plan(arguments.program, path, form, chunk, slab, "--solver", "labels")
                    if isinstance(labels, str):
                        sys.exit(f"{model} {form}: {labels}")
                    cell, agrees = "", True
                    if arguments.cpsat > 0:
                        extra = ["--solver", "cpsat", "--time-limit", arguments.cpsat]
                        cell, agrees = certificate(plan(arguments.program, path, form, chunk, slab, *extra), labels)
                    wrong += not agrees
                    slowest[slab] = max(slowest.get(slab, 0), labels["seconds"])
                    status = labels["status"] if labels["gap"] == 0 else f"gap {labels['gap'] * 100:.3f} %"
                    print(f"| {model} | {form} | {chunk} | {slab} | {labels['steps']} | {labels['weights']} | "
                          f"{labels['objective']:.3f} | {status} | {labels['seconds']:.3f} | "
                          f"{cell}{'' if agrees else ' DISAGREES'} |", flush=True)
    print("\nslowest by labels: " + ", ".join(f"{slab} {seconds:.2f} s" for slab, seconds in slowest.items()))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
