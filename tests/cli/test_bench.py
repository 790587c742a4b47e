"""`flashmem bench`: every row of the table, its JSON, the peer protocol.  Figures themselves are not judged here."""

import json
import shlex
import subprocess
import sys

import golden
import numpy as np
import pytest

import support

PEER = """echo '{"name": "stub", "integrated_ms": 12.5, "peak_bytes": 1000000, "warm_ms": '${FLASHMEM_PEER_WARM:-none}'}'"""


@pytest.fixture(scope="module")
def measured(flashmem, wide_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    done = flashmem.ok(
        "bench",
        wide_model,
        "--budget",
        "50%",
        "--cold",
        2,
        "--warm",
        3,
        "--first-run",
        "--peer",
        PEER,
        "--json",
        folder / "b.json",
        env={"TMPDIR": folder},
    )
    assert [p.name for p in folder.iterdir()] == ["b.json"]
    report = json.loads((folder / "b.json").read_text())
    return done.out.replace(str(wide_model), "MODEL").replace(report["device"], "DEVICE"), report


def test_bench__every_row(measured, request):
    golden.check("bench.txt", measured[0], request.config.getoption("--update-goldens"))


def test_bench__json(measured):
    report = measured[1]
    for name, count in (
        ("integrated_ms", 2),
        ("serial_ms", 2),
        ("disk_bytes_per_s", 2),
        ("peak_bytes", 2),
        ("bare_peak_bytes", 2),
        ("warm_ms", 3),
        ("first_run_ms", 1),
        ("peer_integrated_ms", 2),
        ("stall_ms", 2),
        ("average_bytes", 2),
        ("verify_ms", 2),
    ):
        assert report[name]["samples"] == count, name
        assert 0 <= report[name]["min"] <= report[name]["median"] <= report[name]["max"], name
    assert report["peer"] == "stub" and report["peer_integrated_ms"]["median"] == 12.5
    assert report["weights"] == "fp32" and report["budget"] == "50%" and report["steps"] >= 6
    assert (
        report["planned_peak_bytes"] <= report["budget_bytes"]
        and report["minimum_bound_bytes"] <= report["minimum_budget_bytes"]
    )
    assert report["page_cache_bytes"]["max"] < report["bytes_read"]


def test_bench__figures_follow_their_definitions(measured):
    r = measured[1]
    read_limit = r["bytes_read"] / r["disk_bytes_per_s"]["median"] * 1e3
    compute_limit = r["bare_startup_ms"]["median"] + r["flops"] / r["peak_flops_per_s"] * 1e3
    integrated = r["integrated_ms"]["median"]
    read, rest = r["serial_read_ms"]["median"], r["serial_startup_ms"]["median"] + r["serial_compute_ms"]["median"]
    assert r["read_limit_ms"] == pytest.approx(read_limit) and r["compute_limit_ms"] == pytest.approx(compute_limit)
    assert r["integrated_over_limit"] == pytest.approx(integrated / max(read_limit, compute_limit))
    assert r["hidden"] == pytest.approx((read + rest - integrated) / min(read, rest))
    assert r["integrated_over_serial_maximum"] == pytest.approx(integrated / max(read, rest))
    assert r["flops"] == pytest.approx(2 * 6 * 4 * 1024 * 1024, rel=0.05)


def test_bench__of_an_fp16_pack_says_so(flashmem, small_model, tmp_path):
    flashmem.ok("compile", small_model, "-o", tmp_path / "p.flm", "--weights", "fp16", "--layout", "cpu")
    flashmem.ok("bench", tmp_path / "p.flm", "--cold", 1, "--json", tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["weights"] == "fp16"


@pytest.mark.parametrize(
    "peer, says",
    [
        ("exit 3", "ended with code 3"),
        ("kill -9 $$", "ended on signal 9"),
        ("echo hello", "the peer command printed no JSON object"),
        ("true", "the peer command printed no JSON object"),
        ("echo '[1]'", "the peer command printed no JSON object"),
    ],
)
def test_bench__peer_that_fails(flashmem, small_model, tmp_path, peer, says):
    flashmem.fails("bench", small_model, "--cold", 1, "--peer", peer, says=says, env={"TMPDIR": tmp_path})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("variant", ["default", "cold", "nopack"])
def test_peer__onnx_runtime(flashmem, small_model, variant):
    command = [
        sys.executable,
        str(support.ROOT / "bench" / "peers" / "onnxruntime_cold.py"),
        str(small_model),
        "--variant",
        variant,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=flashmem.env | {"FLASHMEM_PEER_WARM": "2"}
    )
    report = json.loads(done.stdout)
    assert (
        report["integrated_ms"] >= report["load_ms"] > 0
        and report["warm_ms"] > 0
        and report["peak_bytes"] > 1e7
        and variant in report["name"]
    )


def test_bench__onnx_runtime_beside_it(flashmem, small_model, tmp_path):
    peer = shlex.join([sys.executable, str(support.ROOT / "bench" / "peers" / "onnxruntime_cold.py"), str(small_model)])
    done = flashmem.ok("bench", small_model, "--cold", 1, "--warm", 2, "--peer", peer, "--json", tmp_path / "b.json")
    report = json.loads((tmp_path / "b.json").read_text())
    assert (
        report["peer"].startswith("ONNX Runtime")
        and report["peer_integrated_ms"]["median"] > 0
        and report["peer_warm_ms"]["median"] > 0
    )
    assert "integrated / peer" in done.out and "warm / peer" in done.out


def test_bench__inputs_that_do_not_fit(flashmem, small_model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 256), np.float32))
    flashmem.fails(
        "bench",
        small_model,
        "--cold",
        1,
        "--input",
        tmp_path / "x.npy",
        says=["input 'x' has shape 3x256", "ended with code 1"],
    )


def test_bench__only_warm(flashmem, small_model, tmp_path):
    done = flashmem.ok("bench", small_model, "--cold", 0, "--warm", 2, "--json", tmp_path / "b.json")
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["warm_ms"]["samples"] == 2 and report["integrated_ms"] is None and report["hidden"] is None
    assert report["budget_bytes"] > 0 and report["device"] and "integrated latency" not in done.out


def test_bench__nothing_to_measure(flashmem, small_model):
    flashmem.fails("bench", small_model, "--cold", 0, code=2, says="--cold 0 without --warm measures nothing")
