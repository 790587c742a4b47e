#!/usr/bin/env python3
"""The simulator against real runs on the present CPU device: simulator_error.py [--models NAME,...] [--budgets PERCENT,...]
[--samples N] [-o FILE.md]

Each sample is a cold run in a process of its own, and a simulation of the plan that it ran, fed with that run's disk rate,
checks, start-up and kernel step times (bench/simulator_error.c).  Prints a Markdown table; exit code 1 if a median error is
above 10 %.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 0.10


def samples(build, pack, budget, count):
    command = [build / "bench" / "simulator_error", pack, budget, count]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def row(name, budget, found):
    def median(field):
        return statistics.median(s[field] for s in found)

    errors = [s["simulated_ms"] / s["measured_ms"] - 1 for s in found]
    error = statistics.median(map(abs, errors))
    measured = [s["measured_ms"] for s in found]
    cells = [name, f"{budget} %", f"{median('measured_ms'):.0f} ({min(measured):.0f} to {max(measured):.0f})",
             f"{median('simulated_ms'):.0f}", f"{statistics.median(errors):+.1%}", f"{error:.1%}",
             f"{median('measured_stall_ms'):.0f}", f"{median('simulated_stall_ms'):.0f}",
             f"{median('average_mb'):.1f}", f"{median('simulated_average_mb'):.1f}", f"{median('disk_gb_s'):.2f}"]
    return error, "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--models-folder", type=Path, default=ROOT / "build" / "models")
    parser.add_argument("--packs", type=Path, default=ROOT / "build" / "packs", help="where packs are kept")
    parser.add_argument("--models", default="gptn-s,vit-b16,resnet50,minilm-l6")
    parser.add_argument("--budgets", default="12.5,25,50,100")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    header = ["model", "budget", "measured ms (least to greatest)", "simulated ms", "error", "median of errors' size",
              "stalls ms", "simulated", "average MB", "simulated", "disk GB/s"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    worst = 0
    arguments.packs.mkdir(parents=True, exist_ok=True)
    for name in arguments.models.split(","):
        pack = arguments.packs / f"{name}.flm"
        if not pack.exists():
            subprocess.run([arguments.build / "flashmem", "compile", arguments.models_folder / f"{name}.onnx", "-o", pack,
                            "--layout", "cpu", "--quiet"], check=True)
        for budget in arguments.budgets.split(","):
            error, line = row(name, budget, samples(arguments.build, pack, budget, arguments.samples))
            worst = max(worst, error)
            lines.append(line)
    lines += ["", f"Worst median: {worst:.1%} ({'within' if worst <= ALLOWED else 'beyond'} {ALLOWED:.0%})."]
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    print(text, end="")
    sys.exit(worst > ALLOWED)


if __name__ == "__main__":
    main()
