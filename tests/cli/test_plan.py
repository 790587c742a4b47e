"""`flashmem plan`, `inspect`, `devices` and `probe`."""

import json
import re

import golden
import pytest

import support

# One device (null), one disk rate, one slab size: the plan depends on nothing measured.
FIXED = ["--device", "null", "--disk-rate", "1G", "--slab", "2MiB", "--read-depth", "4", "--read-size", "1MiB"]


@pytest.fixture
def update(request):
    return request.config.getoption("--update-goldens")


def test_plan__text(flashmem, wide_pack, update):
    golden.check("plan_wide.txt", flashmem.ok("plan", wide_pack, *FIXED, "--budget", "8MiB").out, update)


def test_plan__text_with_rows(flashmem, rows_pack, update):
    golden.check("plan_rows.txt", flashmem.ok("plan", rows_pack, *FIXED, "--budget", "off").out, update)


@pytest.mark.parametrize("budget", ["off", "auto", "min", "25%", "8MiB", "12M"])
@pytest.mark.parametrize("extra", [[], ["--slab", "1MiB"], ["--read-depth", "8", "--read-size", "4MiB"]])
def test_plan__verifies(flashmem, wide_pack, budget, extra):
    done = flashmem.ok("plan", wide_pack, "--verify", "--device", "null", "--budget", budget, *extra)
    assert done.out.endswith("verified: every constraint of the plan and of the replayed program holds\n")


@pytest.mark.parametrize("model", ["gptn-s", "resnet50", "vit-b16", "minilm-l6"])
@pytest.mark.parametrize("budget", ["25%", "min"])
def test_plan__verifies_zoo_models(flashmem, model, budget):
    flashmem.ok("plan", support.zoo(model), "--verify", "--device", "null", "--budget", budget)


def test_plan__minimum(flashmem, wide_pack, tmp_path):
    out = flashmem.ok("plan", wide_pack, "--minimum", "--device", "null").out
    assert re.fullmatch(r"\d+\n", out)
    report = flashmem.report("plan", wide_pack, "--device", "null", folder=tmp_path)
    assert report["memory"]["minimum_budget_bytes"] == int(out) >= report["memory"]["minimum_bound_bytes"] > 0


def test_plan__json(flashmem, wide_pack, tmp_path):
    report = flashmem.report("plan", wide_pack, *FIXED, "--budget", "8MiB", folder=tmp_path)
    assert report["plan"]["steps"] > report["plan"]["kernel_steps"] == 6
    assert 0 < report["plan"]["peak_bytes"] <= 8 * 2**20 == report["memory"]["budget_bytes"]
    assert report["plan"]["predicted_latency_ms"] > 0 and report["plan"]["predicted_stall_ms"] >= 0


def test_plan__smaller_budgets_are_not_faster(flashmem, wide_pack, tmp_path):
    latency = [
        flashmem.report("plan", wide_pack, *FIXED, "--budget", b, folder=tmp_path)["plan"]["predicted_latency_ms"]
        for b in ("min", "8MiB", "16MiB", "off")
    ]
    assert latency == sorted(latency, reverse=True) and latency[0] > 0


def test_plan__the_same_twice(flashmem, wide_pack):
    texts = [flashmem.ok("plan", wide_pack, *FIXED, "--budget", "8MiB").out for _ in range(2)]
    assert texts[0] == texts[1]


def test_plan__of_a_pack_without_a_device(flashmem, wide_pack):
    flashmem.ok("plan", wide_pack, "--minimum", env={"OCL_ICD_VENDORS": "/nonexistent"})


def test_plan__does_not_run(flashmem, wide_pack):
    assert "stalled" not in flashmem.ok("plan", wide_pack, *FIXED).out


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--slab", "5Q"], "'5Q' is not a size"),
        (["--read-size", "2T"], "'2T' is too large"),
        (["--disk-rate", "x"], "'x' is not a size"),
    ],
)
def test_plan__sizes_refused(flashmem, wide_pack, arguments, says):
    flashmem.fails("plan", wide_pack, *arguments, code=2, says=says)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--read-size", "4097"], "4097 bytes per read: a multiple of 4096 up to 64 MiB is wanted"),
        (["--read-depth", "257"], "257 reads in flight, at most 256"),
        (["--program", "1"], "program 1 of 1"),
    ],
)
def test_plan__values_refused(flashmem, wide_pack, arguments, says):
    flashmem.fails("plan", wide_pack, *arguments, says=says)


def test_inspect__text(flashmem, wide_pack, rows_pack, update):
    for name, pack in (("wide", wide_pack), ("rows", rows_pack)):
        text = flashmem.ok("inspect", pack).out.replace(str(pack), "PACK")
        golden.check(f"inspect_{name}.txt", text, update)


def test_inspect__verifies_weights(flashmem, wide_pack):
    assert flashmem.ok("inspect", wide_pack, "--verify").out.endswith("every checksum matches\n")


def test_inspect__of_a_model(flashmem, small_model):
    flashmem.fails("inspect", small_model, says=f'{small_model}: not a pack: it does not begin with "FLASHMEM"')


def test_devices__describes_each(flashmem):
    text = flashmem.ok("devices").out
    assert re.match(
        r"0  \S.*\n   platform .*, driver .*\n   \d+ compute units, memory [\d.]+ GB \(largest allocation [\d.]+ GB\)\n"
        r"   images (none|up to \d+ x \d+), half arithmetic (yes|no)\n   layout (cpu|texture|gpu), memory path (in-place|texture-copy)\n",
        text,
    )


def test_probe__says_how_long(flashmem):
    assert re.fullmatch(r"device ready in [\d.]+ ms\n", flashmem.ok("probe").err)
    assert not flashmem.ok("probe", "--quiet").err


def test_probe__null(flashmem):
    flashmem.ok("probe", "--device", "null", env={"OCL_ICD_VENDORS": "/nonexistent"})
