#!/usr/bin/env python3
"""The published tables beside the simulator: published.py [--flashmem PROGRAM] [--skeletons FOLDER] [-o FILE.md]
[--models NAME,...]

First the published policy (overlap plan: lambda 0.9, M_peak 500 MB, chunks of 256 KiB, whole weights) on the described
OnePlus 12: how far the simulator is from the published latencies.  Then ours, at --budget auto.  Kernel times are the
published SmartMem execution times, spread over kernel steps by their work; nothing is tuned.
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISKS = [1.0, 1.5, 2.0, 3.0]  # GB/s
STARTS = [0, 100, 300]  # ms
NOMINAL = (1.5, 100)  # the published disk rate; start-up as the device file has it
PHONES = {"oneplus11": "OnePlus 11", "pixel8": "Pixel 8", "mi6": "Xiaomi Mi 6"}
WITHIN = 1.35


def geomean(values):
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


class Bench:
    def __init__(self, arguments):
        self.program = arguments.flashmem
        self.skeletons = Path(arguments.skeletons)
        self.folder = Path(tempfile.mkdtemp(prefix="published-"))
        self.facts = json.loads((ROOT / "bench" / "published.json").read_text())
        names = arguments.models.split(",") if arguments.models else None
        self.models = [m for m in self.facts["models"] if not names or m["zoo"] in names]
        like = {m["name"]: m for m in self.facts["models"]}["GPTN-1.3B"]
        for model in self.models:
            model["kernels_s"] = (model["execution_ms"] or like["execution_ms"] * model["gmacs"] / like["gmacs"]) / 1e3

    def device(self, phone, disk, start):
        """A device file with another disk or start-up."""
        facts = json.loads((ROOT / "devices" / f"{phone}.json").read_text())
        if disk:
            facts["disk_bytes_per_second"] = disk * 1e9
        if start is not None:
            facts["startup_seconds"] = start / 1e3
        path = self.folder / f"{phone}-{disk}-{start}.json"
        path.write_text(json.dumps(facts))
        return path, facts

    def simulate(self, model, phone="oneplus12", disk=None, start=None, policy=None):
        """Figures of one simulation; None where the policy does not fit the device."""
        device, facts = self.device(phone, disk, start)
        reference = json.loads((ROOT / "devices" / "oneplus12.json").read_text())
        slower = reference["flops_per_second"]["matmul"] / facts["flops_per_second"]["matmul"]
        report = self.folder / "report.json"
        command = [self.program, "simulate", self.skeletons / f"{model['zoo']}.onnx", "--weights", "fp16", "--quiet",
                   "--device-file", device, "--step-times", f"{model['kernels_s'] * slower:.9f}", "--json", report]
        command += ["--policy", policy, "--budget", "off"] if policy else ["--budget", "auto"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
        return json.loads(report.read_text())["simulation"]


def cell(value, form="{:.0f}"):
    return "-" if value is None else form.format(value)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def calibration(bench):
    """The published policy against its published latencies, at every disk and start-up."""
    ratios, nominal = {}, {}
    for disk in DISKS:
        for start in STARTS:
            found = {m["name"]: bench.simulate(m, disk=disk, start=start, policy="published") for m in bench.models}
            ratios[disk, start] = geomean(found[m["name"]]["latency_ms"] / m["ms"][-1] for m in bench.models)
            if (disk, start) == NOMINAL:
                nominal = found
    far = max(ratios[NOMINAL], 1 / ratios[NOMINAL])
    title = "## The published policy in the simulator" + ("" if far <= WITHIN else ": uncalibrated")
    lines = [title, "",
             f"Geometric mean of simulated to published latency, {len(bench.models)} models; at {NOMINAL[0]} GB/s and "
             f"{NOMINAL[1]} ms of start-up {ratios[NOMINAL]:.2f} "
             f"({'within' if far <= WITHIN else 'beyond'} 35 %). Neither is published but the disk rate; within 35 % at "
             + (", ".join(f"{d} GB/s and {s} ms" for (d, s), r in ratios.items() if max(r, 1 / r) <= WITHIN) or "none")
             + ".", ""]
    lines += table(["disk", *(f"start-up {s} ms" for s in STARTS)],
                   [[f"{d} GB/s", *(f"{ratios[d, s]:.2f}" for s in STARTS)] for d in DISKS])
    rows = []
    for m in bench.models:
        s = nominal[m["name"]]
        rows.append([m["name"], cell(m["ms"][-1]), cell(s["latency_ms"]), f"{s['latency_ms'] / m['ms'][-1]:.2f}",
                     cell(m["mb"][-1]), cell(s["average_bytes"] / 1e6), cell(s["peak_bytes"] / 1e6)])
    lines += ["", f"At {NOMINAL[0]} GB/s and {NOMINAL[1]} ms:", ""]
    lines += table(["model", "published ms", "simulated ms", "ratio", "published average MB", "simulated average MB",
                    "simulated peak MB"], rows)
    return lines, nominal


def ours_beside_all(bench, published):
    """Ours on the described OnePlus 12 beside every engine's published figures."""
    engines = bench.facts["engines"]
    rows, speed, memory = [], [], []
    for m in bench.models:
        s = bench.simulate(m, disk=NOMINAL[0], start=NOMINAL[1])
        speed.append(m["ms"][-1] / s["latency_ms"])
        memory.append(m["mb"][-1] * 1e6 / s["average_bytes"])
        rows.append([m["name"], *(cell(x) for x in m["ms"]), cell(published[m["name"]]["latency_ms"]),
                     f"**{s['latency_ms']:.0f}**", f"{s['latency_ms'] / s['limit_ms']:.2f}", *(cell(x) for x in m["mb"]),
                     f"**{s['average_bytes'] / 1e6:.0f}**", f"**{s['peak_bytes'] / 1e6:.0f}**"])
    lines = ["## Ours on the described OnePlus 12", "",
             f"{NOMINAL[0]} GB/s, start-up {NOMINAL[1]} ms inside the limit, `--budget auto`. Published latencies (ms, "
             "initialisation + execution; FlashMem integrated) and average MB are measured on a phone, the others "
             "simulated on its description: they are beside each other, not a race. Limit: max(bytes / disk, start-up + "
             "kernels).", ""]
    lines += table(["model", *(f"{e} ms" for e in engines), "FlashMem simulated ms", "ours ms", "x limit",
                    *(f"{e} MB" for e in engines), "ours average MB", "ours peak MB"], rows)
    lines += ["", f"Published FlashMem to ours, geometric means: latency {geomean(speed):.2f}, average memory "
              f"{geomean(memory):.2f}."]
    return lines


def ours_everywhere(bench):
    """Latency, and the distance to the limit, over disks and start-ups."""
    rows = []
    for m in bench.models:
        row = [m["name"]]
        for disk in DISKS:
            for start in STARTS:
                s = bench.simulate(m, disk=disk, start=start)
                row.append(f"{s['latency_ms']:.0f} ({s['latency_ms'] / s['limit_ms']:.2f})")
        rows.append(row)
    lines = ["## Ours over disks and start-ups, OnePlus 12", "", "ms (x limit).", ""]
    return lines + table(["model", *(f"{d} GB/s, {s} ms" for d in DISKS for s in STARTS)], rows)


def other_phones(bench):
    lines = ["## Ours on the other described phones", "",
             "Kernel times as on the OnePlus 12, longer in proportion to the fp16 rates; disk and start-up of the device "
             "files; nothing is published for these. ms (x limit), average and peak MB.", ""]
    rows = []
    for m in bench.models:
        row = [m["name"]]
        for phone in PHONES:
            s = bench.simulate(m, phone=phone)
            row.append(f"{s['latency_ms']:.0f} ({s['latency_ms'] / s['limit_ms']:.2f}), "
                       f"{s['average_bytes'] / 1e6:.0f}, {s['peak_bytes'] / 1e6:.0f}")
        rows.append(row)
    return lines + table(["model", *PHONES.values()], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--flashmem", default=ROOT / "build" / "release" / "flashmem")
    parser.add_argument("--skeletons", default=ROOT / "build" / "skeletons")
    parser.add_argument("--models", help="zoo names, separated by commas")
    parser.add_argument("-o", "--output", help="write Markdown there")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    lines = ["# The published tables beside the simulator", "",
             "Made by `python3 bench/published.py -o docs/published.md`.", ""]
    part, published = calibration(bench)
    lines += part
    for part in (ours_beside_all(bench, published), ours_everywhere(bench), other_phones(bench)):
        lines += ["", *part]
    lines += ["", "Facts: [published.json](../bench/published.json). " + " ".join(bench.facts["notes"])]
    text = "\n".join(lines) + "\n"
    if arguments.output:
        Path(arguments.output).write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
