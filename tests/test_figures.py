"""Quick subsets of the figures that bench/ prints: policies against the timed plan, and the published tables."""

import json
import re
import subprocess
import sys

import pytest

import support

PUBLISHED = support.ROOT / "bench" / "published.py"


def needs_skeletons(*names):
    for name in names:
        if not (support.SKELETONS / f"{name}.onnx").exists():
            pytest.skip(f"build/skeletons/{name}.onnx is not there: make models")


def test_policies__none_beats_the_timed_plan():
    models = ["resnet50", "vit", "gptn-s", "depth-s"]
    needs_skeletons(*models)
    command = [support.BUILD / "bench" / "policies", support.SKELETONS, "--quick", "--models", ",".join(models)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    compared, worse = map(int, re.search(r"(\d+) comparisons,.* worse in (\d+)", done.stdout).groups())
    assert worse == 0 and compared >= 4 * 2 * 5 * 4 - 8


def test_published__tables(tmp_path):
    needs_skeletons("resnet50", "vit")
    out = tmp_path / "tables.md"
    subprocess.run([sys.executable, PUBLISHED, "--flashmem", support.FLASHMEM, "--skeletons", support.SKELETONS,
                    "--models", "resnet50,vit", "-o", out], check=True)
    text = out.read_text()
    ratio = float(re.search(r"of start-up (\d+\.\d+) \((within|beyond) 35 %\)", text)[1])
    uncalibrated = "## The published policy in the simulator: uncalibrated\n" in text
    assert uncalibrated == (max(ratio, 1 / ratio) > 1.35)
    ours = [line for line in text.splitlines() if line.startswith("| ViT |") and "**" in line]
    assert len(ours) == 1 and "| 347 |" in ours[0] and "| 83 |" in ours[0]
    limits = [float(x) for x in re.findall(r"\d+ \((\d\.\d\d)\)", text)]
    assert len(limits) == 2 * (12 + 3) and all(1 <= x < 1.2 for x in limits)


def test_simulator_error__runs_and_simulates_the_same_plan(tmp_path):
    model = support.mlp(tmp_path / "wide.onnx", width=1024, layers=6, external=True)
    pack = tmp_path / "wide.flm"
    subprocess.run([support.FLASHMEM, "compile", model, "-o", pack, "--layout", "cpu", "--quiet"], check=True)
    env = {"FLASHMEM_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([support.BUILD / "bench" / "simulator_error", pack, "50", "2"], env=env, check=True,
                          capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    for row in rows: # how close they are is for bench/simulator_error.py: machines are shared
        assert 0 < row["before_ms"] < row["simulated_ms"] and row["before_ms"] < row["measured_ms"]
        assert row["launches"] >= 6 and row["disk_gb_s"] > 0 and row["kernels_ms"] > 0
