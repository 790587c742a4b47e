"""`flashmem profile`: measuring, keeping and checking a device profile."""

import json
import re
import signal
import time
import xml.etree.ElementTree as xml

import pytest

import support

NO_LIBRARY = {"FLASHMEM_XGBOOST": "/nonexistent/libxgboost.so"}


@pytest.fixture(scope="module")
def measured(flashmem, tmp_path_factory):
    """(folder, report, printed) of a short profile saved to folder/p.json."""
    folder = tmp_path_factory.mktemp("profile")
    done = flashmem.ok("profile", "-o", folder / "p.json", "--json", folder / "report.json", timeout=300)
    return folder, json.loads((folder / "report.json").read_text()), done.out


def test_profile__prints_rates_kernels_and_errors(measured):
    _, report, out = measured
    for text in ("launch ", " us between kernels", "disk ", "copy ", "gptn-s/128x768x768", "rates: matmul ",
                 "growth allowed: elementwise 300 %, reusable 20 %, hierarchical 0 %", "measured in "):
        assert text in out
    if report["learnt"]:
        assert re.search(r"on shapes held out: time of \d+ kernels off by [\d.]+ % on average \(most [\d.]+ %\), "
                         r"growth under \d+ loads by [\d.]+ %", out)


def test_profile__report(measured):
    folder, report, _ = measured
    assert report["profile"] == str(folder / "p.json") and report["measured"] and not report["full"]
    assert 0 < report["gap_us"] <= report["launch_us"] < 1e4
    assert all(rate > 0 for name, rate in report["hops"].items() if name != "image_bytes_per_s")
    assert all(rate > 0 for rate in report["flops_per_s"].values())
    rows = report["rows"]
    assert len(rows) > 20 and len({row["class"] for row in rows}) >= 5
    for row in rows:
        assert 0 < row["seconds"] < 1
        if row["class"] in ("attention", "norm"):
            assert row["capacity_bytes"] < 1e9
    assert any(row["capacity_bytes"] > 0 for row in rows if row["class"] == "elementwise")
    assert len(report["sweeps"]) > 20 and {s["load_path"] for s in report["sweeps"]} == {"separate"}
    # A load takes time: half as long as the kernel itself shows.
    heavy = [s["growth"] for s in report["sweeps"]
             if s["load_bytes"] / report["hops"]["copy_bytes_per_s"] > s["alone_seconds"] * 0.5]
    assert heavy and sum(growth > 1.1 for growth in heavy) > len(heavy) / 2


def test_profile__file_and_trees(measured):
    folder, report, _ = measured
    saved = json.loads((folder / "p.json").read_text())
    assert saved["format"] == "flashmem device profile" and saved["version"] == 1
    assert saved["loads"][0]["load_path"] == "separate"
    assert len(saved["rows"]) == len(report["rows"]) and len(saved["sweeps"]) == len(report["sweeps"])
    trees = [saved["time"]["trees"], saved["loads"][0]["trees"]] if report["learnt"] else []
    for name in trees:
        assert json.loads((folder / name).read_text())["learner"]["objective"]["name"] == "reg:squarederror"
    assert sorted(p.name for p in folder.glob("p.*")) == sorted(["p.json"] + trees)  # no pack is left


def test_profile__check_compares_models(flashmem, measured, small_model, wide_pack, tmp_path):
    folder, _, _ = measured
    picture, named = tmp_path / "kernels.svg", tmp_path / 'a<b>&"c.onnx'
    named.write_bytes(small_model.read_bytes())
    report = flashmem.report("profile", "-o", folder / "p.json", "--check", named, "--check", wide_pack,
                             "--picture", picture, folder=tmp_path)
    assert not report["measured"]  # the profile at hand served
    assert [c["model"] for c in report["check"]] == [named.name, "wide.flm"]
    for check in report["check"]:
        assert len(check["launches"]) >= 3
        assert sum(l["measured_us"] for l in check["launches"]) == pytest.approx(check["measured_ms"] * 1e3)
        assert sum(l["predicted_us"] for l in check["launches"]) == pytest.approx(check["predicted_ms"] * 1e3)
        assert 0.05 < check["predicted_ms"] / check["measured_ms"] < 20
        assert 0 <= check["median_error"] <= check["most_error"]
        assert {l["class"] for l in check["launches"]} <= set(check["classes"])
    drawing = xml.parse(picture).getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert named.name in "".join(drawing.itertext())
    text = picture.read_text()
    assert "href" not in text and "url(http" not in text
    points = sum(len(c["launches"]) for c in report["check"])
    assert text.count("<circle") + text.count("<path d='M") + text.count("width='5.6'") >= points


def test_profile__check_prints_a_table(flashmem, measured, small_model):
    out = flashmem.ok("profile", "-o", measured[0] / "p.json", "--check", small_model).out
    assert "measured before: " in out and re.search(r"small.onnx +\d+ +[\d.]+ +[\d.]+", out)


def test_profile__quiet(flashmem, measured, small_model):
    assert flashmem.ok("profile", "-o", measured[0] / "p.json", "--check", small_model, "--quiet").out == ""


def test_profile__is_kept_in_the_cache(flashmem, small_model, tmp_path):
    """The first command that needs a profile makes one, the next finds it; a damaged one is made again."""
    cache = tmp_path / "cache"
    args = ["profile", "--check", small_model, "--cache-dir", cache, "--log", "info"]
    first = flashmem.ok(*args, timeout=300)
    assert "device profile" in first.err and "MISS: there is none" in first.err and "measured in" in first.out
    (profile,) = [p for p in cache.glob("profile-*.json") if p.name.count(".") == 1]
    again = flashmem.ok(*args)
    assert "MISS" not in again.err and f"measured before: {profile}" in again.out
    saved = json.loads(profile.read_text())
    saved["gap_seconds"] = "none"
    profile.write_text(json.dumps(saved))
    damaged = flashmem.ok(*args, timeout=300)
    assert "MISS" in damaged.err and "'gap_seconds' is missing or no number" in damaged.err
    assert json.loads(profile.read_text())["gap_seconds"] > 0
    saved = json.loads(profile.read_text())
    saved["device"]["name"] = "another device"
    profile.write_text(json.dumps(saved))
    assert "it is of another device" in flashmem.ok(*args, timeout=300).err
    assert [p for p in cache.iterdir() if p.suffix == ".tmp"] == []


def test_profile__without_the_library(flashmem, small_model, tmp_path):
    """Rates and hops, the class table for capacities, and a message that says how to get more."""
    path = tmp_path / "p.json"
    done = flashmem.ok("profile", "-o", path, "--json", tmp_path / "report.json", env=NO_LIBRARY, timeout=300)
    assert "no XGBoost: /nonexistent/libxgboost.so: no such file" in done.err and "pip install" in done.err
    assert "no trees: kernel times come from the rates, capacities from the class table" in done.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["learnt"] and report["flops_per_s"]["matmul"] > 1e8
    row = next(r for r in report["rows"] if r["class"] == "matmul")
    # 20 % of the time that the rates predict, at the rate of a copy
    assert row["held_out"] == 0 and row["capacity_bytes"] > 0
    assert sorted(p.name for p in tmp_path.glob("p.*")) == ["p.json"]
    report = flashmem.report("profile", "-o", path, "--check", small_model, folder=tmp_path, env=NO_LIBRARY)
    assert not report["measured"] and report["check"][0]["predicted_ms"] > 0


def test_profile__growth_is_settable(flashmem, tmp_path):
    path = tmp_path / "p.json"
    out = flashmem.ok("profile", "-o", path, "--growth", "100,50,10", timeout=300).out
    assert "growth allowed: elementwise 100 %, reusable 50 %, hierarchical 10 %" in out
    assert json.loads(path.read_text())["growth"] == {"elementwise": 1.0, "reusable": 0.5, "hierarchical": 0.1}


def test_profile__of_images(flashmem, tmp_path):
    """The texture layout on a CPU: for tests, and slow; still seconds."""
    report = flashmem.report("profile", "-o", tmp_path / "p.json", "--layout", "texture", folder=tmp_path, timeout=600)
    assert report["hops"]["image_bytes_per_s"] > 0
    assert json.loads((tmp_path / "p.json").read_text())["layout"] == "texture"


def test_profile__interrupted_leaves_nothing(flashmem, tmp_path):
    child = flashmem.start("profile", "-o", tmp_path / "p.json", "--no-cache")
    end = time.monotonic() + 60
    while not list(tmp_path.glob("*.tmp")) and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 1, f"{child.returncode}\n{out}\n{err}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (["--device", "null"], 2, "the null device computes nothing"),
        (["--device", "no such device"], 1, "no OpenCL device 'no such device'"),
        (["--device", "no such device", "--layout", "cpu"], 1, "no OpenCL device 'no such device'"),
        (["--no-cache"], 2, "profile --no-cache needs --output FILE"),
        (["--layout", "round"], 2, "--layout is cpu, texture or gpu, not 'round'"),
        (["--layout", "gpu"], 1, "layout gpu is not built yet"),
        (["--weights", "int8"], 2, "--weights is fp32 or fp16, not 'int8'"),
        (["--growth", "300,20"], 2, "--growth '300,20': write three percentages"),
        (["--growth", "300,-1,0"], 2, "--growth '300,-1,0'"),
        (["--growth", "300,20,0,1"], 2, "--growth '300,20,0,1'"),
        (["--growth", "nan,20,0"], 2, "--growth 'nan,20,0'"),
        (["--picture", "a.svg"], 2, "--picture draws what --check MODEL compares"),
        (["--threads", "5000"], 1, "5000 threads"),
        (["model.onnx"], 2, "'profile' takes no file"),
        (["--budget", "off"], 2, "'profile' has no option --budget"),
    ],
)
def test_profile__refuses(flashmem, arguments, code, says):
    flashmem.fails("profile", *arguments, code=code, says=says)


def test_profile__check_of_no_model(flashmem, measured, tmp_path):
    for path, says in ((tmp_path / "none.onnx", "none.onnx: No such file"), (measured[0] / "p.json", "p.json")):
        flashmem.fails("profile", "-o", measured[0] / "p.json", "--check", path, says=says)


def test_profile__where_it_cannot_be_written(flashmem, tmp_path):
    """Said at once, not after the device has been measured."""
    for path, says in ((tmp_path / "none" / "p.json", "none: No such file"), (tmp_path, "is a folder")):
        began = time.monotonic()
        flashmem.fails("profile", "-o", path, says=says)
        assert time.monotonic() - began < 3


def test_plan__takes_the_profile_of_this_device(flashmem, tmp_path):
    model = support.skeleton("minilm-l6")
    arguments = ["--objective", "opg", "--layout", "cpu", "--cache-dir", tmp_path, "--profile"]
    table = flashmem.report("plan", model, *arguments, "table", folder=tmp_path)["plan"]
    learnt = flashmem.report("plan", model, *arguments, "device", folder=tmp_path)["plan"]
    assert table["capacities"] == "class table" and str(tmp_path) in learnt["capacities"]
    assert list(tmp_path.glob("profile-*.json"))
    again = flashmem("plan", model, *arguments, "device", "--log", "info")
    assert again.code == 0 and "MISS" not in again.err
