"""The pack cache: HIT or MISS and why; eviction; --no-cache.  The null device keeps these runs short."""

import os
import shutil
import time

import pytest

import support


def run(program, model, *arguments, **options):
    """Runs and returns what the log says of the pack: ("MISS", reason) or ("HIT", "")."""
    done = program.ok("run", model, "--random-inputs", 1, "--device", "null", "--log", "info", *arguments, **options)
    line = next(line for line in done.err.splitlines() if line.startswith("info cache: pack "))
    verdict, _, rest = line.removeprefix("info cache: pack ").partition(": ")
    return verdict, rest.partition(".flm: ")[2]


def packs(folder):
    return sorted(p.name for p in (folder / "packs").glob("*.flm"))


@pytest.fixture
def model(tmp_path):
    return support.mlp(tmp_path / "m.onnx", width=64, layers=2, external=True)


def test_cache__miss_then_hit(fresh, model, tmp_path):
    assert run(fresh, model) == ("MISS", "not compiled before with these options")
    assert run(fresh, model) == ("HIT", "")
    assert len(packs(tmp_path / "cache")) == 1


def test_cache__report_says_so(fresh, model, tmp_path):
    arguments = ["run", model, "--random-inputs", 1, "--device", "null"]
    first, second = (fresh.report(*arguments, folder=tmp_path) for _ in range(2))
    assert first["cache"]["pack"] == "miss" and first["latency_ms"]["compile"] > 0
    assert second["cache"]["pack"] == "hit" and second["latency_ms"]["compile"] == 0


def test_cache__same_model_by_another_path(fresh, model, tmp_path):
    run(fresh, model)
    (tmp_path / "link.onnx").symlink_to(model)
    assert run(fresh, tmp_path / "link.onnx") == ("HIT", "")
    assert run(fresh, "m.onnx", cwd=tmp_path) == ("HIT", "")


@pytest.mark.parametrize(
    "options", [["--weights", "fp16"], ["--shape", "x=4x64"], ["--layout", "texture", "--memory-path", "texture-copy"]]
)
def test_cache__other_options_are_other_packs(fresh, model, tmp_path, options):
    run(fresh, model)
    if "--layout" in options:  # the null device reads the cpu layout: only the key is looked at
        fresh("run", model, "--random-inputs", 1, "--device", "null", *options)
    else:
        assert run(fresh, model, *options) == ("MISS", "not compiled before with these options")
        assert run(fresh, model, *options) == ("HIT", "")
    assert len(packs(tmp_path / "cache")) == 2
    assert run(fresh, model) == ("HIT", "")


def later(path):
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def rewrite(path):
    """Same bytes, same times, another inode."""
    stat = os.stat(path)
    shutil.copyfile(path, f"{path}.new")
    os.replace(f"{path}.new", path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [later, rewrite])
@pytest.mark.parametrize("which", ["m.onnx", "m.onnx.bin"])
def test_cache__changed_files_are_compiled_again(fresh, model, tmp_path, change, which):
    run(fresh, model)
    change(tmp_path / which)
    assert run(fresh, model) == ("MISS", "the model, its external data or this program changed")
    assert run(fresh, model) == ("HIT", "")
    assert len(packs(tmp_path / "cache")) == 1


def test_cache__another_build_compiles_again(fresh, model, tmp_path):
    """Its kernels may be others than those that the pack was made for."""
    run(fresh, model)
    shutil.copy(fresh.path, tmp_path / "flashmem")
    other = support.Program(tmp_path / "cache", tmp_path / "flashmem")
    assert run(other, model) == ("MISS", "the model, its external data or this program changed")
    assert run(other, model) == ("HIT", "")


def test_cache__new_weights_count(fresh, model, tmp_path):
    """Same graph, other external data of the same size: the answer is the new one's."""
    fresh.ok("run", model, "--random-inputs", 1, "--output-dir", tmp_path / "1")
    support.mlp(tmp_path / "m.onnx", width=64, layers=2, external=True, seed=9)
    fresh.ok("run", model, "--random-inputs", 1, "--output-dir", tmp_path / "2")
    got = support.load_folder(tmp_path / "2")
    support.assert_close(got, support.reference(model, support.load_folder(tmp_path / "2" / "inputs")))
    assert abs(got["y"] - support.load_folder(tmp_path / "1")["y"]).max() > 0.1


def test_cache__external_data_that_went_away(fresh, model, tmp_path):
    run(fresh, model)
    (tmp_path / "m.onnx.bin").unlink()
    fresh.fails("run", model, "--random-inputs", 1, "--device", "null", says="m.onnx.bin")


def test_cache__removed_pack(fresh, model, tmp_path):
    run(fresh, model)
    for pack in (tmp_path / "cache" / "packs").glob("*.flm"):
        pack.unlink()
    assert run(fresh, model) == ("MISS", "its pack was removed")


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "its file list is empty"),
        ("nonsense\n", "its file list is unreadable"),
        ("1 2 3 /x", "its file list is unreadable"),
        ("1 2 3 /none\n", "the model, its external data or this program changed"),
    ],
)
def test_cache__damaged_file_list(fresh, model, tmp_path, text, why):
    run(fresh, model)
    for manifest in (tmp_path / "cache" / "packs").glob("*.files"):
        manifest.write_text(text)
    assert run(fresh, model) == ("MISS", why)
    assert run(fresh, model) == ("HIT", "")


def test_cache__evicts_the_least_recently_used(fresh, tmp_path):
    models = [support.mlp(tmp_path / f"m{i}.onnx", width=256, layers=2) for i in range(3)]  # 0.5 MB each
    for model in models:
        run(fresh, model)
        time.sleep(0.01)
    assert len(packs(tmp_path / "cache")) == 3
    assert run(fresh, models[0]) == ("HIT", "")
    extra = support.mlp(tmp_path / "extra.onnx", width=256, layers=2)
    assert run(fresh, extra, "--cache-limit", "1.5M")[0] == "MISS"
    kept = packs(tmp_path / "cache")
    assert len(kept) == 2 and len(list((tmp_path / "cache" / "packs").glob("*.files"))) == 2
    assert run(fresh, models[0])[0] == "HIT" and run(fresh, extra)[0] == "HIT"
    assert run(fresh, models[1])[0] == "MISS"


def test_cache__keeps_the_pack_in_use_whatever_the_limit(fresh, model, tmp_path):
    assert run(fresh, model, "--cache-limit", "1")[0] == "MISS"
    assert run(fresh, model, "--cache-limit", "1") == ("HIT", "")


def test_cache__sweeps_what_killed_compilers_left(fresh, model, tmp_path):
    folder = tmp_path / "cache" / "packs"
    folder.mkdir(parents=True)
    for name in ("0.flm.tmp-a1b2c3", "0.files.77.tmp", "1.flm.tmp-young"):
        (folder / name).write_text("half")
        if "young" not in name:
            os.utime(folder / name, (time.time() - 100000,) * 2)
    run(fresh, model)
    assert [p.name for p in folder.iterdir() if "tmp" in p.name] == ["1.flm.tmp-young"]


def test_no_cache__leaves_nothing(fresh, model, tmp_path):
    (tmp_path / "tmp").mkdir()
    done = run(fresh, model, "--no-cache", env={"TMPDIR": tmp_path / "tmp"})
    assert done == ("MISS", "--no-cache")
    assert not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "cache").exists()
    assert fresh.report("run", model, "--random-inputs", 1, "--no-cache", folder=tmp_path)["cache"]["pack"] == "off"
    assert not (tmp_path / "cache").exists()


def test_no_cache__leaves_nothing_after_an_error(fresh, model, tmp_path):
    (tmp_path / "tmp").mkdir()
    fresh.fails(
        "run",
        model,
        "--no-cache",
        "--random-inputs",
        1,
        "--budget",
        "1",
        env={"TMPDIR": tmp_path / "tmp"},
        says="a budget of 1 bytes, this model needs at least",
    )
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    "environment, place",
    [
        ({"FLASHMEM_CACHE_DIR": "{}/a"}, "a"),
        ({"FLASHMEM_CACHE_DIR": None, "XDG_CACHE_HOME": "{}/b"}, "b/flashmem"),
        ({"FLASHMEM_CACHE_DIR": None, "XDG_CACHE_HOME": None, "HOME": "{}/c"}, "c/.cache/flashmem"),
    ],
)
def test_cache__place(fresh, model, tmp_path, environment, place):
    run(fresh, model, env={k: v and v.format(tmp_path) for k, v in environment.items()})
    assert len(packs(tmp_path / place)) == 1


def test_cache_dir__option_wins(fresh, model, tmp_path):
    run(fresh, model, "--cache-dir", tmp_path / "given")
    assert len(packs(tmp_path / "given")) == 1 and not (tmp_path / "cache").exists()


def test_cache_dir__that_cannot_be_made(fresh, model, tmp_path):
    (tmp_path / "file").write_text("")
    fresh.fails(
        "run",
        model,
        "--random-inputs",
        1,
        "--cache-dir",
        tmp_path / "file",
        says=[f"{tmp_path}/file/packs", "Not a directory"],
    )


def test_cache__plan_needs_no_pack(fresh, model):
    done = fresh.ok("plan", model, "--device", "null", "--log", "info")
    assert "cache: pack" not in done.err
    assert run(fresh, model)[0] == "MISS"


def test_compile__model_that_changes_meanwhile(fresh, tmp_path):
    """The list of files is taken before compilation: a change during it is not taken for what is in the pack."""
    model = support.mlp(tmp_path / "m.onnx", width=512, layers=8, external=True)
    child = fresh.start(
        "compile", model, "-o", tmp_path / "p.flm", "--manifest", tmp_path / "p.files", "--layout", "cpu"
    )
    while not list(tmp_path.glob("p.flm.tmp-*")) and child.poll() is None:
        time.sleep(0.0005)
    later(tmp_path / "m.onnx.bin")
    _, err = child.communicate(timeout=60)
    if child.returncode == 0:  # it was through already
        assert (tmp_path / "p.files").exists()
        return
    assert child.returncode == 1 and "it or its external data changed while it was compiled" in err
    assert not (tmp_path / "p.flm").exists() and not (tmp_path / "p.files").exists()


def test_cache__many_at_once(fresh, model, tmp_path):
    """Runs that start together with empty caches: each compiles or waits for nobody, all are right, nothing is left over."""
    children = [fresh.start("run", model, "--random-inputs", 1, "--output-dir", tmp_path / str(i)) for i in range(4)]
    for child in children:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    want = support.reference(model, support.load_folder(tmp_path / "0" / "inputs"))
    for i in range(4):
        support.assert_close(support.load_folder(tmp_path / str(i)), want)
    assert not [p for p in (tmp_path / "cache").rglob("*") if "tmp" in p.name]
    assert run(fresh, model) == ("HIT", "")


def test_model__whose_path_has_line_ends_and_backslashes(fresh, tmp_path):
    folder = tmp_path / "a\nb\\n"
    folder.mkdir()
    model = support.mlp(folder / "m\n.onnx", width=64, layers=1, external=True)
    run = ["run", model, "--random-inputs", 1, "--device", "null", "--log", "info"]
    assert "MISS" in fresh.ok(*run).err
    assert "HIT" in fresh.ok(*run).err
    (folder / "m\n.onnx.bin").touch()
    assert "MISS" in fresh.ok(*run).err
