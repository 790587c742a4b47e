"""`flashmem run`: budgets, memory paths, figures, traces, devices."""

import json

import numpy as np
import pytest

from support import assert_close, load_folder, reference


def outputs(flashmem, path, out, *arguments, **options):
    flashmem.ok("run", path, "--output-dir", out, *arguments, **options)
    return load_folder(out)


# --- budgets --------------------------------------------------------------------------------------------------------


def figures(flashmem, path, tmp_path, *arguments):
    return flashmem.report("run", path, "--random-inputs", 1, *arguments, folder=tmp_path)


@pytest.mark.parametrize(
    "budget, least, most",
    [
        ("off", None, None),
        ("auto", 0, 2**40),
        ("25%", 0.24, 0.26),
        ("80%", 0.79, 0.81),
        ("13M", 13e6, 13e6),
        ("13MB", 13e6, 13e6),
        ("12MiB", 12 * 2**20, 12 * 2**20),
        ("0.02G", 20e6, 20e6),
        ("min", 0, 2**40),
        ("-1G", 1, 2**50),
        ("12600000", 12600000, 12600000),
    ],
)
def test_budget__is_kept(flashmem, wide_pack, wide_model, tmp_path, budget, least, most):
    got = outputs(
        flashmem, wide_pack, tmp_path / "out", "--random-inputs", 1, "--budget", budget, "--json", tmp_path / "r.json"
    )
    memory = json.loads((tmp_path / "r.json").read_text())["memory"]
    assert_close(got, reference(wide_model, load_folder(tmp_path / "out" / "inputs")))
    if budget == "off":
        assert memory["budget_bytes"] == memory["planned_peak_bytes"] > 25e6
    else:
        scale = json.loads((tmp_path / "r.json").read_text())["weights_bytes"] if budget.endswith("%") else 1
        assert (
            max(least * scale, memory["minimum_budget_bytes"] if budget.endswith("%") else 0)
            <= memory["budget_bytes"]
            <= max(most * scale, memory["minimum_budget_bytes"])
        )
        assert memory["planned_peak_bytes"] <= memory["budget_bytes"]
    assert memory["minimum_bound_bytes"] <= memory["minimum_budget_bytes"]


def test_budget__percentage_below_the_minimum_is_raised(flashmem, wide_pack, tmp_path):
    done = flashmem.ok(
        "run", wide_pack, "--random-inputs", 1, "--budget", "0.1%", "--log", "info", "--json", tmp_path / "r.json"
    )
    memory = json.loads((tmp_path / "r.json").read_text())["memory"]
    assert memory["budget_bytes"] == memory["minimum_budget_bytes"]
    assert "raised" in done.err and "minimum" in done.err


def test_budget__below_the_minimum_states_it(flashmem, wide_pack, wide_model, tmp_path):
    minimum = int(flashmem.ok("plan", wide_pack, "--minimum").out)
    flashmem.fails(
        "run",
        wide_pack,
        "--random-inputs",
        1,
        "--budget",
        minimum - 1,
        says=f"a budget of {minimum - 1} bytes, this model needs at least {minimum} (1.1 MB): give that or more",
    )
    got = outputs(
        flashmem,
        wide_pack,
        tmp_path / "out",
        "--random-inputs",
        1,
        "--budget",
        minimum,
        "--runs",
        2,
        "--json",
        tmp_path / "r.json",
    )
    assert json.loads((tmp_path / "r.json").read_text())["memory"]["planned_peak_bytes"] <= minimum
    assert_close(got, reference(wide_model, load_folder(tmp_path / "out" / "inputs")))


@pytest.mark.parametrize("budget", ["0", "1", "4096", "0.5M"])
def test_budget__impossible(flashmem, wide_pack, budget):
    flashmem.fails("run", wide_pack, "--random-inputs", 1, "--budget", budget, says="this model needs at least")


def test_budget__leave_more_than_there_is(flashmem, wide_pack):
    flashmem.fails("run", wide_pack, "--random-inputs", 1, "--budget", "-100T", says="this model needs at least")


def test_budget__streams(flashmem, wide_pack, tmp_path):
    """A quarter of the weights: everything is read once per run, and memory stays below."""
    report = figures(flashmem, wide_pack, tmp_path, "--budget", "40%", "--runs", 2)
    assert report["memory"]["planned_peak_bytes"] < 0.41 * report["weights_bytes"]
    assert report["io"]["bytes_read"] >= report["weights_bytes"]


def test_budget__off_reads_once(flashmem, wide_pack, tmp_path):
    report = figures(flashmem, wide_pack, tmp_path, "--budget", "off", "--runs", 2)
    assert report["io"]["bytes_read"] >= report["weights_bytes"] and report["io"]["bytes_read_last_run"] == 0


def test_host_budget__cannot_take_effect(flashmem, small_pack):
    flashmem.fails("run", small_pack, "--random-inputs", 1, "--host-budget", "10M", says="host budget")


# --- memory paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["texture-embedded", "dma"])
def test_memory_path__not_built_yet(flashmem, small_model, small_pack, path):
    for given in (small_model, small_pack):
        flashmem.fails(
            "run",
            given,
            "--random-inputs",
            1,
            "--memory-path",
            path,
            says=f"memory path '{path}' is not built in this version; 'in-place' and 'texture-copy' are",
        )


def test_memory_path__texture_copy(flashmem, wide_model, tmp_path):
    got = outputs(
        flashmem,
        wide_model,
        tmp_path / "out",
        "--random-inputs",
        1,
        "--memory-path",
        "texture-copy",
        "--budget",
        "60%",
        "--json",
        tmp_path / "r.json",
    )
    assert json.loads((tmp_path / "r.json").read_text())["memory_path"] == "texture-copy"
    assert_close(got, reference(wide_model, load_folder(tmp_path / "out" / "inputs")))


def test_layout__wrong_one_names_the_command(flashmem, small_model, tmp_path):
    pack = tmp_path / "t.flm"
    flashmem.ok("compile", small_model, "-o", pack, "--layout", "texture")
    flashmem.fails(
        "run",
        pack,
        "--random-inputs",
        1,
        says=[
            f"{pack}: its weights are laid out for 'texture'",
            "--layout cpu",
            "flashmem compile MODEL.onnx -o PACK.flm",
            "--memory-path texture-copy",
        ],
    )
    flashmem.fails(
        "run",
        pack,
        "--random-inputs",
        1,
        "--memory-path",
        "in-place",
        says=["'texture' layout", "'in-place'", "--layout cpu"],
    )


def test_layout__texture_path_on_a_cpu_pack(flashmem, small_pack):
    flashmem.fails(
        "run",
        small_pack,
        "--random-inputs",
        1,
        "--memory-path",
        "texture-copy",
        says=["'cpu' layout", "'texture-copy'", "--layout texture"],
    )


def test_layout__gpu_is_not_built_yet(flashmem, small_model, tmp_path):
    flashmem.fails("compile", small_model, "-o", tmp_path / "g.flm", "--layout", "gpu", says="gpu")
    assert not (tmp_path / "g.flm").exists()


# --- figures and traces ---------------------------------------------------------------------------------------------


def test_json__fields(flashmem, wide_pack, tmp_path):
    report = figures(flashmem, wide_pack, tmp_path, "--budget", "50%", "--runs", 3)
    assert {"startup", "compile", "integrated", "warm_median"} <= report["latency_ms"].keys()
    assert {
        "budget_bytes",
        "planned_peak_bytes",
        "minimum_budget_bytes",
        "minimum_bound_bytes",
        "process_peak_bytes",
        "average_bytes",
    } <= report["memory"].keys()
    assert {"bytes_read", "bandwidth_bytes_per_s", "direct"} <= report["io"].keys()
    assert "total" in report["stall_ms"] and {"program", "pack"} <= report["cache"].keys()
    assert report["steps"] >= 6 and report["weights_bytes"] >= 6 * 1024 * 1024 * 4
    latency = report["latency_ms"]
    assert latency["compile"] == 0 and 0 < latency["startup"] <= latency["integrated"] and latency["warm_median"] > 0
    assert len(latency["runs"]) == 3
    memory = report["memory"]
    assert 0 < memory["average_bytes"] <= memory["planned_peak_bytes"] < memory["process_peak_bytes"]
    assert isinstance(report["io"]["direct"], bool) and report["io"]["bandwidth_bytes_per_s"] > 0
    assert report["cache"]["pack"] == "given" and report["cache"]["program"] in ("hit", "miss")
    assert report["stall_ms"]["total"] >= 0


def test_json__one_run_has_no_warm_median(flashmem, small_pack, tmp_path):
    assert figures(flashmem, small_pack, tmp_path)["latency_ms"]["warm_median"] is None


def test_json__serial_phases(flashmem, wide_pack, tmp_path):
    report = figures(flashmem, wide_pack, tmp_path, "--budget", "50%", "--serial")
    serial = report["serial_ms"]
    assert serial["startup"] > 0 and serial["read"] > 0 and serial["compute"] > 0
    assert serial["read"] + serial["compute"] <= report["latency_ms"]["integrated"]


def test_trace__loads_with_its_tracks(flashmem, wide_pack, tmp_path):
    flashmem.ok("run", wide_pack, "--random-inputs", 1, "--budget", "50%", "--runs", 2, "--trace", tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())
    events = trace["traceEvents"]
    tracks = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    names = " ".join(tracks.values()).lower()
    assert all(word in names for word in ("disk", "conversion", "kernels", "stalls")), names
    spans = [e for e in events if e["ph"] == "X"]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 and e["name"] and (e["pid"], e["tid"]) in tracks for e in spans)
    kinds = {tracks[e["pid"], e["tid"]].split()[0].lower() for e in spans}
    assert {"disk", "kernels"} <= kinds, kinds
    memory = [e for e in events if e["ph"] == "C"]
    assert memory and all(v >= 0 for e in memory for v in e["args"].values())
    assert sum("matmul" in e["name"] for e in spans) >= 12  # two runs of six


def test_trace__on_one_track_nothing_overlaps(flashmem, wide_pack, tmp_path):
    flashmem.ok("run", wide_pack, "--random-inputs", 1, "--budget", "50%", "--runs", 2, "--trace", tmp_path / "t.json")
    spans = [e for e in json.loads((tmp_path / "t.json").read_text())["traceEvents"] if e["ph"] == "X"]
    for track in {e["tid"] for e in spans}:
        ends = 0
        for e in sorted((e for e in spans if e["tid"] == track), key=lambda e: e["ts"]):
            assert e["ts"] >= ends - 1.0, e  # microseconds, rounded
            ends = e["ts"] + e["dur"]


@pytest.mark.parametrize("option", ["--json", "--trace"])
def test_figures__to_a_folder_that_is_not_there(flashmem, small_pack, tmp_path, option):
    path = tmp_path / "none" / "x.json"
    flashmem.fails("run", small_pack, "--random-inputs", 1, option, path, says=[str(path), "No such file or directory"])


# --- devices --------------------------------------------------------------------------------------------------------


def test_device__null_runs_without_opencl(flashmem, wide_pack, tmp_path):
    report = flashmem.report(
        "run",
        wide_pack,
        "--random-inputs",
        1,
        "--device",
        "null",
        "--budget",
        "50%",
        folder=tmp_path,
        env={"OCL_ICD_VENDORS": "/nonexistent", "OCL_ICD_FILENAMES": None},
    )
    assert report["device"] == "null" or "null" in report["device"].lower()
    assert report["io"]["bytes_read"] >= report["weights_bytes"]


def test_device__by_number_and_name(flashmem, small_pack, tmp_path):
    listed = flashmem.ok("devices").out.splitlines()[0]
    number, name = listed.split(None, 1)
    for given in (number, name, name[:6]):
        assert (
            flashmem.report("run", small_pack, "--random-inputs", 1, "--device", given, folder=tmp_path)["device"]
            == name.strip()
        )


@pytest.mark.parametrize("device", ["99", "Abacus 3000"])
def test_device__missing(flashmem, small_pack, device):
    flashmem.fails(
        "run",
        small_pack,
        "--random-inputs",
        1,
        "--device",
        device,
        says=[f"no OpenCL device '{device}'; there are: 0 '"],
    )


@pytest.mark.parametrize(
    "arguments", [["devices"], ["probe"], ["run", "PACK", "--random-inputs", "1"], ["plan", "MODEL"]]
)
def test_no_opencl_at_all(flashmem, small_pack, small_model, tmp_path, arguments):
    """Without a loader entry there is no platform: said so, with what to install.  (`plan` of a pack needs no device.)"""
    arguments = [{"PACK": small_pack, "MODEL": small_model}.get(a, a) for a in arguments]
    flashmem.fails(
        *arguments,
        env={"OCL_ICD_VENDORS": "/nonexistent", "OCL_ICD_FILENAMES": None, "FLASHMEM_CACHE_DIR": tmp_path},
        says=["OpenCL"],
    )


def test_threads(flashmem, wide_pack, tmp_path):
    got = [outputs(flashmem, wide_pack, tmp_path / n, "--random-inputs", 1, "--threads", n)["y"] for n in "12"]
    assert np.array_equal(got[0], got[1])
