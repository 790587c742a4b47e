"""`flashmem plan --json`, `--dump-problem` and `--curve`: names and figures that scripts read."""

import json
import math
import re
import subprocess

import golden
import pytest

import support

FIXED = ["--device", "null", "--disk-rate", "1G", "--slab", "2MiB", "--read-depth", "4", "--read-size", "1MiB"]
PLAN = """objective_kind objective bound gap status solver capacities seconds steps kernel_steps weights preload_bytes read_bytes
    peak_bytes average_bytes predicted_latency_ms predicted_stall_ms compute_ms disk_ms""".split()
OVERLAP = "lambda chunk_bytes m_peak_bytes m_peak_chunks peak_chunks".split()
MEMORY = """budget_bytes planned_peak_bytes live_bound_bytes minimum_budget_bytes minimum_bound_bytes resident_bytes
    staging_bytes image_bytes activation_bytes slab_bytes""".split()
ROW = "budget_bytes peak_bytes average_bytes resident_bytes latency_ms stall_ms".split()


@pytest.fixture
def update(request):
    return request.config.getoption("--update-goldens")


# --- --json ----------------------------------------------------------------------------------------------------------


def test_json__names(flashmem, wide_pack, tmp_path):
    report = flashmem.report("plan", wide_pack, *FIXED, "--budget", "8MiB", folder=tmp_path)
    assert list(report) == ["plan", "memory", "model", "device", "weights_bytes", "cache"]
    assert list(report["plan"]) == PLAN and list(report["memory"]) == MEMORY and list(report["cache"]) == ["pack"]
    report = flashmem.report("plan", wide_pack, *FIXED, "--curve", folder=tmp_path)
    assert list(report) == ["plan", "memory", "model", "device", "weights_bytes", "curve", "cache"]
    assert all(list(row) == ROW for row in report["curve"])


def test_json__names_of_an_overlap_plan(flashmem, wide_model, tmp_path):
    report = flashmem.report("plan", wide_model, "--instance", "u:A", folder=tmp_path)
    assert list(report["plan"]) == PLAN + OVERLAP
    report = flashmem.report("plan", wide_model, "--instance", "f:A", "--fusion", folder=tmp_path)
    assert list(report["plan"])[: len(PLAN + OVERLAP)] == PLAN + OVERLAP


def test_json__figures_of_a_plan_made_by_hand(tmp_path):
    subprocess.run([support.BUILD / "tests" / "write_made_plan", "timed", "300", tmp_path], check=True, capture_output=True)
    plan = json.loads((tmp_path / "plan.json").read_text())
    page = (tmp_path / "plan.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="plan">(.*?)</script>', page, re.S)[1])
    steps, objects = data["steps"], data["objects"]
    assert plan["plan"]["steps"] == 300 == len(steps["name"]) and plan["plan"]["weights"] == 100 == len(objects["name"])
    assert plan["plan"]["predicted_latency_ms"] == pytest.approx(steps["end"][-1], rel=1e-7)
    assert plan["plan"]["predicted_stall_ms"] == pytest.approx(sum(steps["stall"]), rel=1e-6)
    assert plan["plan"]["compute_ms"] == pytest.approx(sum(steps["seconds"]), rel=1e-6)
    assert plan["plan"]["read_bytes"] == sum(objects["bytes"])
    kept = [b for b, resident in zip(objects["bytes"], objects["resident"]) if resident]
    assert plan["memory"]["resident_bytes"] == sum(kept) > 0
    assert all(len(column) == 300 for column in steps.values()) and all(len(column) == 100 for column in objects.values())


# --- --dump-problem --------------------------------------------------------------------------------------------------


def check_problem(p):
    """C0 to C3 of docs/planning.md; returns the objective in units of the formula."""
    steps, chunk = len(p["steps"]), p["chunk_bytes"]
    taken, flight, objective = [0] * steps, [0] * (steps + 1), 0.0
    for w in p["weights"]:
        assert list(w) == ["name", "bytes", "chunks", "first", "last", "preload", "load"]
        assert w["chunks"] == max(1, -(-w["bytes"] // chunk)) and 0 <= w["first"] <= w["last"] < steps
        assert sum(chunks for _, chunks in w["load"]) == (0 if w["preload"] else w["chunks"])
        for step, chunks in w["load"]:
            assert 0 <= step < w["first"] and chunks >= 1
            taken[step] += chunks
            flight[step] += chunks
            flight[w["first"] + 1] -= chunks
        objective += (p["lambda"] * math.ceil(w["bytes"] / 1024) / 1024 if w["preload"]
                      else (1 - p["lambda"]) * (w["first"] - min(step for step, _ in w["load"])))
    assert all(t <= c for t, c in zip(taken, p["capacity_chunks"], strict=True))
    live = 0
    for step in range(steps):
        live += flight[step]
        assert live <= p["m_peak_chunks"]
    return objective


@pytest.mark.parametrize("model", ["gptn-s", "vit-b16"])
@pytest.mark.parametrize("options", [["--instance", "u:A"], ["--instance", "f:C"], ["--instance", "u:B", "--chunk", "256KiB"],
                                     ["--instance", "u:A", "--solver", "greedy", "--lambda", "0.5", "--m-peak", "30M"]])
def test_dump__can_be_checked_outside(flashmem, tmp_path, model, options):
    path = tmp_path / "problem.json"
    report = flashmem.report("plan", support.zoo(model), *options, "--dump-problem", path, folder=tmp_path)["plan"]
    problem = json.loads(path.read_text())
    assert list(problem) == ["chunk_bytes", "m_peak_chunks", "lambda", "capacity_chunks", "steps", "weights"]
    assert check_problem(problem) == pytest.approx(report["objective"], rel=1e-3)
    assert [len(problem["steps"]), len(problem["weights"])] == [report["steps"], report["weights"]]
    assert sum(w["bytes"] for w in problem["weights"] if w["preload"]) == report["preload_bytes"]
    assert problem["m_peak_chunks"] == report["m_peak_bytes"] // problem["chunk_bytes"]


def test_dump__of_a_timed_plan(flashmem, wide_model, tmp_path):
    flashmem.fails("plan", wide_model, "--device", "null", "--dump-problem", tmp_path / "p.json", code=2,
                   says="--dump-problem belongs to --objective opg")
    assert not list(tmp_path.iterdir())


def test_text__of_an_overlap_plan(flashmem, wide_model, update):
    golden.check("plan_overlap.txt", flashmem.ok("plan", wide_model, "--instance", "u:A", "--chunk", "64KiB").out, update)


# --- --curve ---------------------------------------------------------------------------------------------------------


def test_curve__from_the_minimum_to_everything(flashmem, wide_pack, tmp_path):
    rows = flashmem.report("plan", wide_pack, *FIXED, "--curve", folder=tmp_path)["curve"]
    whole = flashmem.report("plan", wide_pack, *FIXED, "--budget", "off", folder=tmp_path)
    least = int(flashmem.ok("plan", wide_pack, *FIXED, "--minimum").out)
    assert rows[0]["budget_bytes"] == rows[0]["peak_bytes"] == least
    assert rows[-1]["budget_bytes"] == rows[-1]["peak_bytes"] == whole["plan"]["peak_bytes"]
    assert 8 <= len(rows) <= 12
    budgets = [row["budget_bytes"] for row in rows]
    assert budgets == sorted(set(budgets)) and all(row["peak_bytes"] <= row["budget_bytes"] for row in rows)
    assert rows[0]["latency_ms"] > rows[-1]["latency_ms"] == whole["plan"]["predicted_latency_ms"]


def test_curve__rows_are_plans(flashmem, wide_pack, tmp_path):
    rows = flashmem.report("plan", wide_pack, *FIXED, "--curve", folder=tmp_path)["curve"]
    for row in rows[1:-1:3]:
        plan = flashmem.report("plan", wide_pack, *FIXED, "--budget", row["budget_bytes"], folder=tmp_path)
        assert [row["peak_bytes"], row["latency_ms"], row["stall_ms"], row["average_bytes"]] == pytest.approx(
            [plan["plan"][k] for k in ("peak_bytes", "predicted_latency_ms", "predicted_stall_ms", "average_bytes")])
        assert row["resident_bytes"] == plan["memory"]["resident_bytes"]


def test_curve__text(flashmem, wide_model, tmp_path):
    path = tmp_path / "r.json"
    out = flashmem.ok("plan", wide_model, "--device", "null", "--curve", "--json", path).out.splitlines()
    rows = json.loads(path.read_text())["curve"]
    assert out[0] == "budget and latency, predicted, first run:" and len(out) == len(rows) + 2
    for line, row in zip(out[2:], rows):
        shown = [float(n) for n in re.findall(r"[\d.]+", line)]
        assert shown == pytest.approx([row["budget_bytes"], row["peak_bytes"] / 1e6, row["average_bytes"] / 1e6,
                                       row["resident_bytes"] / 1e6, row["latency_ms"], row["stall_ms"]], abs=0.006)


@pytest.mark.parametrize(
    "options, says",
    [
        (["--curve", "--minimum"], "--minimum and --curve: one thing can be printed"),
        (["--curve", "--budget", "8M"], "--curve is over all budgets: --budget chooses the plan that --json and --html hold"),
        (["--curve", "--instance", "u:A"], "--curve is over budgets, which --objective opg has not"),
    ],
)
def test_curve__refused(flashmem, wide_model, options, says):
    flashmem.fails("plan", wide_model, "--device", "null", *options, code=2, says=says)


def test_save__keeps_an_overlap_plan_in_the_pack(flashmem, tmp_path):
    pack = tmp_path / "mini.flm"
    flashmem.ok("compile", support.zoo("minilm-l6"), "-o", pack, "--layout", "cpu", "--objective", "opg", "--quiet")
    size = pack.stat().st_size
    text = flashmem.ok("plan", pack, "--objective", "opg", "--save", "--solver", "greedy").out
    assert "by greedy" in text and pack.stat().st_size >= size
    flashmem.ok("inspect", pack, "--verify")


def test_fusion__of_a_program_is_lowered_for_real(flashmem, tmp_path):
    arguments = [support.skeleton("gptn-s"), "--objective", "opg", "--profile", "table", "--device", "null"]
    fused = flashmem.report("plan", *arguments, folder=tmp_path)["plan"]
    split = flashmem.report("plan", *arguments, "--fusion", folder=tmp_path)["plan"]
    assert split["fused_objective"] == pytest.approx(fused["objective"])
    assert split["objective"] < fused["objective"] and split["splits"] > 0 and split["steps"] > fused["steps"]


def test_save__of_a_model_is_refused(flashmem):
    failed = flashmem("plan", support.skeleton("gptn-s"), "--objective", "opg", "--save")
    assert failed.code == 2 and "is a model" in failed.err
