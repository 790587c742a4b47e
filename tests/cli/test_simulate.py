"""`flashmem simulate`, device files, and plans by policy."""

import json
import re

import golden
import pytest

POLICIES = ["preload-all", "load-before-use", "always-next", "same-type", "layer-buffers", "published"]
PHONES = {"oneplus12": "OnePlus 12", "oneplus11": "OnePlus 11", "pixel8": "Pixel 8", "mi6": "Xiaomi Mi 6"}
PHONE = ["--device-file", "oneplus12", "--weights", "fp16"]


@pytest.fixture
def update(request):
    return request.config.getoption("--update-goldens")


def simulated(flashmem, folder, *arguments):
    return flashmem.report("simulate", *arguments, folder=folder)


def device_file(tmp_path, **changes):
    device = {"name": "mine", "layout": "texture", "memory_path": "texture-copy", "disk_bytes_per_second": 1e9,
              "startup_seconds": 0.01}
    device.update(changes)
    path = tmp_path / "device.json"
    path.write_text(json.dumps({k: v for k, v in device.items() if v is not None}))
    return path


def test_simulate__text(flashmem, wide_model, update):
    out = flashmem.ok("simulate", wide_model, *PHONE, "--budget", "8MiB").out
    golden.check("simulate_wide.txt", re.sub(r"^\S*/", "", out), update)


@pytest.mark.parametrize("name", PHONES)
def test_simulate__phones(flashmem, wide_model, tmp_path, name):
    report = simulated(flashmem, tmp_path, wide_model, "--device-file", name, "--weights", "fp16", "--budget", "50%")
    figures = report["simulation"]
    assert report["device"] == PHONES[name] and report["plan"] == "timed"
    assert figures["latency_ms"] >= figures["limit_ms"] > 0
    assert figures["average_bytes"] <= figures["peak_bytes"] <= figures["planned_peak_bytes"] <= figures["budget_bytes"]
    assert figures["latency_ms"] == pytest.approx(report["launches"][-1]["end_ms"])
    assert sum(o["bytes"] for o in report["objects"]) == figures["read_bytes"]
    ends = [o["read_end_ms"] for o in report["objects"]]
    assert ends == sorted(ends)
    columns = report["memory"]["columns"]
    assert columns == ["at_ms", "objects", "residents", "activations"]
    fixed = report["memory"]["image_bytes"] + report["memory"]["staging_bytes"]
    assert max(sum(p[1:]) for p in report["memory"]["points"]) + fixed == figures["peak_bytes"]


@pytest.mark.parametrize("policy", POLICIES)
def test_simulate__ours_is_not_slower_than_a_policy(flashmem, wide_model, tmp_path, policy):
    theirs = simulated(flashmem, tmp_path, wide_model, *PHONE, "--budget", "off", "--policy", policy)
    assert theirs["plan"] == policy
    memory = theirs["simulation"]["planned_peak_bytes"]
    ours = simulated(flashmem, tmp_path, wide_model, *PHONE, "--budget", memory)
    assert ours["simulation"]["latency_ms"] <= theirs["simulation"]["latency_ms"] * (1 + 1e-9)


def test_simulate__of_a_pack_on_the_present_device(flashmem, wide_pack, tmp_path):
    report = simulated(flashmem, tmp_path, wide_pack, "--device", "null", "--budget", "8MiB", "--disk-rate", "1G")
    assert report["simulation"]["disk_ms"] == pytest.approx(report["simulation"]["read_bytes"] / 1e6)


def test_simulate__slower_disks_are_not_faster(flashmem, wide_model, tmp_path):
    latencies = [simulated(flashmem, tmp_path, wide_model, *PHONE, "--budget", "25%", "--disk-rate", rate)
                 ["simulation"]["latency_ms"] for rate in ("300M", "1G", "3G")]
    assert latencies == sorted(latencies, reverse=True)


def test_simulate__policies_that_do_not_fit(flashmem, wide_model):
    flashmem.fails("simulate", wide_model, *PHONE, "--budget", "30%", "--policy", "preload-all",
                   says="what the policy 'preload-all' reads: it needs at least")
    flashmem.fails("simulate", wide_model, *PHONE, "--policy", "sometimes", says="no policy is called 'sometimes'")


def test_device_file__its_figures_count(flashmem, wide_model, tmp_path):
    slow = device_file(tmp_path, startup_seconds=1.5, notes=["anything"], flops_per_second={"matmul": 1e12})
    report = simulated(flashmem, tmp_path, wide_model, "--device-file", slow, "--budget", "off")
    assert report["device"] == "mine" and report["simulation"]["latency_ms"] > 1500


def test_device_file__a_cpu(flashmem, wide_model, tmp_path):
    cpu = device_file(tmp_path, layout="cpu", memory_path="in-place")
    assert simulated(flashmem, tmp_path, wide_model, "--device-file", cpu, "--budget", "off")["device"] == "mine"


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"speed": 1}, "no device has a 'speed'"),
        ({"disk_bytes_per_second": "fast"}, "'disk_bytes_per_second' is not a number"),
        ({"disk_bytes_per_second": -1}, "disk_bytes_per_second is -1"),
        ({"disk_bytes_per_second": 1e300}, "disk_bytes_per_second is 1e+300"),
        ({"image_limit": 1.5}, "'image_limit' is not a whole number"),
        ({"image_limit": -1}, "'image_limit' is not a whole number"),
        ({"image_limit": 2**40}, "'image_limit' is not a whole number"),
        ({"value_align": 100}, "values aligned to 100 bytes"),
        ({"layout": "round"}, "'layout' is none of those there are"),
        ({"memory_path": "dma"}, "'memory_path' is in-place or texture-copy"),
        ({"layout": "cpu"}, "layout texture goes with memory path texture-copy"),
        ({"name": ""}, "'name' is not a text of 1 to 255 bytes"),
        ({"name": "x" * 256}, "'name' is not a text of 1 to 255 bytes"),
        ({"growth": {"matmul": 1}}, "'growth' has no class 'matmul'"),
        ({"growth": [1, 2]}, "'growth' is not an object"),
        ({"flops_per_second": {"matmul": None}}, "'matmul' is not a number"),
        ({"read_bytes": 1000}, "multiples of 4096"),
    ],
)
def test_device_file__refused(flashmem, wide_model, tmp_path, changes, says):
    path = device_file(tmp_path, **changes)
    flashmem.fails("simulate", wide_model, "--device-file", path, code=1, says=says)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"name": "a", "name": "b"}', '{"name": "\\u0000"}', "\xff"])
def test_device_file__not_json(flashmem, wide_model, tmp_path, text):
    path = tmp_path / "device.json"
    path.write_text(text, encoding="latin-1")
    flashmem.fails("simulate", wide_model, "--device-file", path, code=1, says=str(path))


def test_device_file__names(flashmem, wide_model, tmp_path):
    flashmem.fails("simulate", wide_model, "--device-file", "nokia", code=2, says="one of: mi6, oneplus11")
    flashmem.fails("simulate", wide_model, "--device-file", tmp_path / "none.json", code=1, says="No such file")
    device_file(tmp_path, name="found").rename(tmp_path / "here.json")
    env = {"FLASHMEM_DEVICES": tmp_path}
    assert "found" in flashmem.ok("simulate", wide_model, "--device-file", "here", "--budget", "off", env=env).out


@pytest.mark.parametrize("option", [["--device", "0"], ["--layout", "cpu"], ["--memory-path", "in-place"]])
def test_device_file__is_the_device(flashmem, wide_model, option):
    flashmem.fails("plan", wide_model, *PHONE, *option, code=2, says="cannot be given too")


def test_plan__by_policy(flashmem, wide_model, tmp_path):
    report = flashmem.report("plan", wide_model, *PHONE, "--budget", "8MiB", "--policy", "always-next", folder=tmp_path)
    assert report["plan"]["objective_kind"] == "always-next" and report["plan"]["solver"] == "rule"


@pytest.mark.parametrize("policy", POLICIES[1:-1])
def test_run__by_policy(flashmem, wide_pack, tmp_path, policy):
    outputs = []
    for extra in ([], ["--policy", policy]):
        flashmem.ok("run", wide_pack, "--random-inputs", "1", "--budget", "12M", "--output-dir", tmp_path, *extra)
        outputs.append((tmp_path / "y.npy").read_bytes())
    assert outputs[0] == outputs[1]


def test_run__published_policy_needs_a_plan(flashmem, wide_pack):
    flashmem.fails("run", wide_pack, "--random-inputs", "1", "--policy", "published", says="there is none here")


def test_compare__predicted(flashmem, wide_model, tmp_path):
    path = tmp_path / "compare.json"
    out = flashmem.ok("plan", wide_model, *PHONE, "--budget", "50%", "--compare", "--json", path).out
    report = json.loads(path.read_text())
    rows = {row["policy"]: row for row in report["compare"]}
    assert list(rows) == ["timed", *POLICIES] and report["device"] == "OnePlus 12"
    assert "does not fit: needs at least" in out and not rows["preload-all"]["fits"]
    ours = rows["timed"]["predicted"]
    for row in rows.values():
        if row["fits"]:
            assert ours["latency_ms"] <= row["predicted"]["latency_ms"] * (1 + 1e-9)
            assert row["predicted"]["peak_bytes"] <= report["budget_bytes"]


def test_compare__measured(flashmem, wide_pack, tmp_path):
    path = tmp_path / "compare.json"
    flashmem.ok("plan", wide_pack, "--device", "null", "--budget", "off", "--compare", "--run", "--json", path)
    rows = {row["policy"]: row for row in json.loads(path.read_text())["compare"]}
    for policy, row in rows.items():
        assert ("measured" in row) == (policy != "published")
    measured = rows["always-next"]["measured"]
    assert 0 < measured["least_ms"] <= measured["latency_ms"] <= measured["greatest_ms"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--run"], "--run belongs to --compare"),
        (["--compare", "--minimum"], "--compare prints one table"),
        (["--compare", "--policy", "same-type"], "--compare prints one table"),
        (["--compare", "--objective", "opg"], "--compare is of timed plans"),
        (["--compare", "--run", *PHONE], "another"),
        (["--policy", "always-next", "--objective", "opg"], "no other objective"),
    ],
)
def test_compare__refused(flashmem, wide_model, arguments, says):
    flashmem.fails("plan", wide_model, *arguments, code=2, says=says)


def test_step_times__spread_by_work_or_given(flashmem, wide_model, tmp_path):
    report = simulated(flashmem, tmp_path, wide_model, *PHONE, "--budget", "off", "--step-times", "0.6")
    assert report["simulation"]["compute_ms"] == pytest.approx(600, rel=1e-2)
    times = tmp_path / "times.json"
    times.write_text(json.dumps([0.1, 0.2, 0.3, 0, 0, 0]))
    report = simulated(flashmem, tmp_path, wide_model, *PHONE, "--budget", "off", "--step-times", times)
    took = [0] * 6
    for launch in report["launches"]:
        took[launch["step"]] += launch["end_ms"] - launch["start_ms"]
    assert took == pytest.approx([100, 200, 300, 0, 0, 0], abs=0.1)


@pytest.mark.parametrize(
    "text, says",
    [("[1]", "times of 1 kernel steps"), ("{}", "not a list"), ("[1, -1]", "kernel step 1"), ('["a"]', "kernel step 0")],
)
def test_step_times__refused(flashmem, wide_model, tmp_path, text, says):
    (tmp_path / "times.json").write_text(text)
    flashmem.fails("simulate", wide_model, *PHONE, "--step-times", tmp_path / "times.json", says=says)
    flashmem.fails("simulate", wide_model, *PHONE, "--step-times", "-1", code=2, says="seconds from 0")
