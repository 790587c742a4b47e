"""Instances of docs/planning.md: every plan that is dumped is checked here from the definition of the problem, by nothing
that the program shares."""

import json
import math

import pytest

import support

MODELS = ["gptn-s", "resnet50", "minilm-l6", "vit-b16", "whisper-m-dec"]
FORMS = ["u:A", "u:C", "f:A", "f:B"]
LARGE = [("llama2-70b", "u:A", "whole"), ("llama2-13b", "f:C", "whole"), ("vit-8b", "f:A", "16MiB"), ("gptn-2.7b", "f:C", "16MiB"),
         ("sd-unet", "f:A", "16MiB")]


def solve(flashmem, folder, model, form, *extra):
    dump = folder / "problem.json"
    report = flashmem.report("plan", support.skeleton(model), "--instance", form, "--dump-problem", dump, *extra,
                             folder=folder)
    return report["plan"], json.loads(dump.read_text())


def check(plan, problem):
    """C0 to C3 and the objective, in the units of the formula."""
    chunk, capacity = problem["chunk_bytes"], problem["capacity_chunks"]
    used, flight = [0] * len(capacity), [0] * (len(capacity) + 1)
    objective, preloaded, weight_of_memory = 0.0, 0, problem["lambda"]
    for w in problem["weights"]:
        assert w["chunks"] == max(1, -(-w["bytes"] // chunk)) and 0 <= w["first"] <= w["last"] < len(capacity)
        if w["preload"]:
            assert not w["load"]
            preloaded += w["bytes"]
            objective += weight_of_memory * math.ceil(w["bytes"] / 1024) / 1024
            continue
        assert sum(chunks for _, chunks in w["load"]) == w["chunks"]
        for step, chunks in w["load"]:
            assert 0 <= step < w["first"] and chunks >= 1
            used[step] += chunks
            flight[step] += chunks
        flight[w["first"] + 1] -= w["chunks"]
        objective += (1 - weight_of_memory) * (w["first"] - min(step for step, _ in w["load"]))
    assert all(u <= c for u, c in zip(used, capacity))
    now = peak = 0
    for change in flight:
        now += change
        peak = max(peak, now)
    assert peak <= problem["m_peak_chunks"]
    assert objective == pytest.approx(plan["objective"], abs=1e-6)
    assert preloaded == plan["preload_bytes"] and len(problem["weights"]) == plan["weights"]
    assert plan["bound"] <= plan["objective"] + 1e-9 and len(capacity) == plan["steps"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk", ["1MiB", "256KiB"])
def test_instance__is_proven_and_holds(flashmem, tmp_path, model, form, chunk):
    plan, problem = solve(flashmem, tmp_path, model, form, "--chunk", chunk)
    check(plan, problem)
    assert plan["status"] == "OPTIMAL" and plan["solver"] == "labels" and plan["gap"] == 0


@pytest.mark.parametrize("model, form, slab", LARGE)
def test_instance__of_a_large_model_is_proven_and_holds(flashmem, tmp_path, model, form, slab):
    plan, problem = solve(flashmem, tmp_path, model, form, *([] if slab == "whole" else ["--slab", slab]))
    check(plan, problem)
    assert plan["status"] == "OPTIMAL" and plan["seconds"] < 20


@pytest.mark.parametrize("solver", ["greedy", "width1", "preload", "window", "labels"])
@pytest.mark.parametrize("form", ["u:A", "f:A"])
def test_instance__by_every_solver_holds(flashmem, tmp_path, solver, form):
    best, _ = solve(flashmem, tmp_path, "gptn-s", form)
    plan, problem = solve(flashmem, tmp_path, "gptn-s", form, "--solver", solver)
    check(plan, problem)
    assert plan["objective"] >= best["objective"] - 1e-9 and plan["bound"] <= best["objective"] + 1e-9


@pytest.mark.parametrize("extra", [["--lambda", "0"], ["--lambda", "1"], ["--lambda", "0.5"], ["--m-peak", "8M"],
                                   ["--m-peak", "1"], ["--chunk", "64KiB"], ["--chunk", "4MiB"]])
def test_instance__other_parameters(flashmem, tmp_path, extra):
    plan, problem = solve(flashmem, tmp_path, "resnet50", "u:A", *extra)
    check(plan, problem)
    assert plan["status"] == "OPTIMAL"


def test_instance__fusion_splits_what_is_starved(flashmem, tmp_path):
    for form in ("f:A", "f:C"):
        plan, problem = solve(flashmem, tmp_path, "gptn-s", form, "--fusion")
        check(plan, problem)
        assert plan["objective"] < 0.5 * plan["fused_objective"] and plan["splits"] > 0


@pytest.mark.parametrize("form", ["u:D", "x", "u:", "u:AA", ""])
def test_instance__unknown_forms_are_refused(flashmem, form):
    failed = flashmem("plan", support.skeleton("resnet50"), "--instance", form)
    assert failed.code in (1, 2) and "u:A" in failed.err
