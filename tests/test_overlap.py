"""Overlap plans of packs of the zoo's models, replayed as they are: outputs equal those of the timed plan bit for bit, in
place and through images, also on a device with memory of its own; what cannot be replayed is refused.  The plans are made
by chance (tests/run/make_overlap.c): what a solver would choose is one of them."""
import shutil
import subprocess

import numpy as np
import pytest
import support
from models import compare

SIZES = {"batch": 1, "sequence": 24}
MODELS = ["gptn-s", "resnet50", "minilm-l6"]


def make_overlap(pack, memory_path, seed, preloaded=20, chunk=262144, slab=4 << 20):
    tool = support.BUILD / "tests" / "make_overlap"
    assert tool.exists(), f"{tool} is missing: build it"
    done = subprocess.run([tool, pack, memory_path, *map(str, (seed, preloaded, chunk, slab))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def packed(flashmem, tmp_path_factory):
    """Pack, inputs and the timed plan's outputs of a model in a layout, made once."""
    known, folder = {}, tmp_path_factory.mktemp("overlap")

    def of(name, layout):
        if (name, layout) not in known:
            path = support.zoo(name)
            feeds = compare.model_feeds(path, SIZES, words=30000, padded=True)
            shapes = [f for n, a in feeds.items() for f in ("--shape", f"{n}={'x'.join(map(str, a.shape))}")]
            pack = folder / f"{name}-{layout}.flm"
            flashmem.ok("compile", path, "-o", pack, "--layout", layout, "--weights", "fp16", "--quiet", *shapes)
            want, _ = compare.run(flashmem, folder / f"{name}-{layout}", pack, feeds, "--budget", "min", *path_of(layout))
            known[name, layout] = pack, feeds, want
        return known[name, layout]

    return of


def path_of(layout):
    return ("--memory-path", "texture-copy" if layout == "texture" else "in-place")


def assert_same(got, want):
    assert sorted(got) == sorted(want)
    for name, array in want.items():
        assert np.array_equal(got[name], array), f"{name}: differs"


def replay(flashmem, packed, tmp_path, name, layout, seed, *options, preloaded=20):
    pack, feeds, want = packed(name, layout)
    tmp_path.mkdir(parents=True, exist_ok=True)
    copy = tmp_path / "p.flm"
    shutil.copyfile(pack, copy)
    make_overlap(copy, path_of(layout)[1], seed, preloaded)
    got, report = compare.run(flashmem, tmp_path, copy, feeds, "--objective", "opg", *path_of(layout), *options)
    assert_same(got, want)
    assert report["objective"] == "opg"
    return report


@pytest.mark.parametrize("budget", ["off", "min"])
@pytest.mark.parametrize("name", MODELS)
def test_in_place(flashmem, packed, tmp_path, name, budget):
    for seed in range(2):
        replay(flashmem, packed, tmp_path / str(seed), name, "cpu", seed, "--budget", budget, "--runs", 3,
               preloaded=40 * seed)


@pytest.mark.parametrize("name,budget", [("gptn-s", "min"), *((n, b) for n in MODELS[1:] for b in ("off", "min"))])
def test_texture_copy(flashmem, packed, tmp_path, name, budget):
    """On a CPU images are emulated, at a fiftieth of the speed: two runs, of which the second uses what stays."""
    replay(flashmem, packed, tmp_path, name, "texture", 1, "--budget", budget, "--runs", 2)


@pytest.mark.parametrize("layout", ["cpu", "texture"])
@pytest.mark.parametrize("name", MODELS)
def test_memory_of_its_own(flashmem, packed, tmp_path, monkeypatch, name, layout):
    """As on a device that does not see the host's memory: what is not published to it is NaN there."""
    packed(name, layout)
    monkeypatch.setitem(flashmem.env, "FLASHMEM_SEPARATE_MEMORY", "1")
    replay(flashmem, packed, tmp_path, name, layout, 2, "--budget", "min", "--runs", 2 if layout == "cpu" else 1)


@pytest.mark.parametrize("slab", ["", "4MiB"])
@pytest.mark.parametrize("layout,name", [("cpu", "gptn-s"), ("cpu", "minilm-l6"), ("texture", "resnet50"), ("texture", "minilm-l6")])
def test_solved__and_replayed(flashmem, packed, tmp_path, name, layout, slab):
    """The plan of a solver, saved in the pack."""
    pack, feeds, want = packed(name, layout)
    copy = tmp_path / "p.flm"
    shutil.copyfile(pack, copy)
    flashmem.ok("plan", copy, "--objective", "opg", "--save", *path_of(layout), *(("--slab", slab) if slab else ()))
    for budget in ("auto", "min"):
        got, report = compare.run(flashmem, tmp_path / budget, copy, feeds, "--objective", "opg", "--budget", budget,
                                  *path_of(layout), "--runs", 2)
        assert_same(got, want)
        assert report["objective"] == "opg"


def test_refused__without_a_plan(flashmem, packed, tmp_path):
    pack, _, _ = packed("minilm-l6", "cpu")
    flashmem.fails("run", pack, "--random-inputs", 1, "--objective", "opg",
                   says=["no overlap plan for program 0 by memory path 'in-place'",
                         f"`flashmem plan {pack} --objective opg --save`"])
    flashmem.fails("bench", pack, "--cold", 1, "--objective", "opg", says="no overlap plan")
    flashmem.fails("run", pack, "--random-inputs", 1, "--objective", "fast", code=2, says="timed or opg, not 'fast'")


def test_refused__too_little_memory_or_damaged(flashmem, packed, tmp_path):
    pack, feeds, want = packed("minilm-l6", "cpu")
    copy = tmp_path / "p.flm"
    shutil.copyfile(pack, copy)
    make_overlap(copy, "in-place", 3)
    run = ("run", copy, "--random-inputs", 1, "--objective", "opg")
    flashmem.fails(*run, "--budget", "1000", says="the overlap plan needs at least")
    flashmem.fails(*run, "--slab", "2MiB", says="in the slabs that it was made for")
    assert "overlap    program 0 by in-place" in flashmem.ok("inspect", copy, "--verify").out
    data = bytearray(copy.read_bytes())
    data[pack.stat().st_size + 40] ^= 4
    copy.write_bytes(data)
    flashmem.fails(*run, says=[str(copy), "the overlap plans do not match their checksum"])
    flashmem.fails("inspect", copy, says="the overlap plans do not match their checksum")
    got, _ = compare.run(flashmem, tmp_path, copy, feeds, "--budget", "min")  # who does not ask does not mind
    assert_same(got, want)


def test_bench(flashmem, packed, tmp_path):
    pack, _, _ = packed("minilm-l6", "cpu")
    copy = tmp_path / "p.flm"
    shutil.copyfile(pack, copy)
    make_overlap(copy, "in-place", 4)
    flashmem.ok("bench", copy, "--cold", 1, "--objective", "opg", "--budget", "min", timeout=300)
