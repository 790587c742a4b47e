"""The zoo's models, whole, against ONNX Runtime: weight formats, budgets, memory paths, repeated runs, and every step."""
import pytest
from models import compare
from support import reference, zoo

MODELS = ["gptn-s", "vit-b16", "resnet50", "minilm-l6", "minilm-l6-dynamic"]
SIZES = {"batch": 2, "sequence": 40}
BUDGETS = ["off", "50%", "25%", "min"]
# On a CPU images are emulated, at a fiftieth of the speed: large models meet each budget once, at alternating weights.


@pytest.fixture(scope="session")
def case():
    """Inputs and ONNX Runtime's outputs of a model, computed once."""
    known = {}

    def of(name):
        if name not in known:
            path = zoo(name)
            feeds = compare.model_feeds(path, SIZES, words=50000 if name == "gptn-s" else 30000, padded=True)
            known[name] = path, feeds, reference(path, feeds)
        return known[name]

    return of


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.parametrize("name", MODELS)
def test_in_place(flashmem, case, tmp_path, name, weights, budget):
    path, feeds, want = case(name)
    got, report = compare.run(flashmem, tmp_path, path, feeds, "--budget", budget, "--weights", weights, "--runs", "3",
                              "--memory-path", "in-place")
    compare.assert_equal_enough(got, want, weights)
    memory = report["memory"]
    assert memory["planned_peak_bytes"] >= memory["minimum_bound_bytes"]
    if budget != "off":
        assert memory["planned_peak_bytes"] <= memory["budget_bytes"]
        assert memory["minimum_budget_bytes"] <= memory["budget_bytes"]


TEXTURE = [(name, budget, weights) for name in ("minilm-l6", "minilm-l6-dynamic") for budget in BUDGETS
           for weights in ("fp32", "fp16")]
TEXTURE += [(name, budget, "fp16" if i % 2 else "fp32") for name in ("gptn-s", "vit-b16", "resnet50")
            for i, budget in enumerate(BUDGETS)]


def run_texture_copy(flashmem, case, folders, tmp_path, name, budget, weights):
    path, feeds, want = case(name)
    pack = folders.getbasetemp() / f"{name}-{weights}-texture.flm"
    shapes = [f for n, a in feeds.items() for f in ("--shape", f"{n}={'x'.join(map(str, a.shape))}")]
    if not pack.exists():
        flashmem.ok("compile", path, "-o", pack, "--layout", "texture", "--weights", weights, "--quiet", *shapes)
    got, _ = compare.run(flashmem, tmp_path, pack, feeds, "--budget", budget, "--memory-path", "texture-copy", "--runs",
                         "3" if budget == "min" else "1")
    compare.assert_equal_enough(got, want, weights)


@pytest.mark.parametrize("name,budget,weights", TEXTURE)
def test_texture_copy(flashmem, case, tmp_path_factory, tmp_path, name, budget, weights):
    run_texture_copy(flashmem, case, tmp_path_factory, tmp_path, name, budget, weights)


@pytest.mark.parametrize("budget", ["off", "25%", "min"])
@pytest.mark.parametrize("name", ["resnet50", "minilm-l6"])
def test_memory_of_its_own(flashmem, case, tmp_path_factory, tmp_path, monkeypatch, name, budget):
    """As on a device that does not see the host's memory: what is not published to it is NaN there."""
    monkeypatch.setitem(flashmem.env, "FLASHMEM_SEPARATE_MEMORY", "1")
    run_texture_copy(flashmem, case, tmp_path_factory, tmp_path, name, budget, "fp32")


@pytest.mark.parametrize("name", ["gptn-s", "vit-b16", "resnet50", "minilm-l6"])
def test_every_step(flashmem, case, tmp_path, name):
    """A final output hides what came before its last norm: all results that the program writes are compared."""
    path, feeds, _ = case(name)
    pack = tmp_path / "all.flm"
    flashmem.ok("compile", path, "-o", pack, "--keep-all", "--quiet")
    got, _ = compare.run(flashmem, tmp_path, pack, feeds, "--budget", "off")
    beside = tmp_path / "all.onnx"
    for data in path.parent.glob(f"{path.stem}.bin"):
        (tmp_path / data.name).hardlink_to(data) if data.stat().st_dev == tmp_path.stat().st_dev else \
            (tmp_path / data.name).symlink_to(data)
    want = compare.intermediates(path, feeds, got.keys(), beside)
    assert len(want) >= {"gptn-s": 100, "vit-b16": 80, "resnet50": 50, "minilm-l6": 50}[name]
    worst = {n: ratio for n, (ratio, _) in compare.differences(got, want).items() if ratio > 1e-3}
    assert not worst
