"""What the system does to the program: full disks, signals, damaged caches, memory limits."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import support

# --- full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path):
    """mount(bytes) gives a file system of that size."""
    mounted = []

    def mount(size):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"a small file system needs the right to mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def test_full_disk__compile(flashmem, wide_model, full_disk):
    disk = full_disk(8 << 20)
    flashmem.fails(
        "compile",
        wide_model,
        "-o",
        disk / "p.flm",
        "--layout",
        "cpu",
        says=[str(disk / "p.flm"), "No space left on device"],
    )
    assert not os.listdir(disk)


def test_full_disk__compile_keeps_the_old_pack(flashmem, small_model, wide_model, full_disk):
    disk = full_disk(8 << 20)
    flashmem.ok("compile", small_model, "-o", disk / "p.flm", "--layout", "cpu")
    before = (disk / "p.flm").read_bytes()
    flashmem.fails("compile", wide_model, "-o", disk / "p.flm", "--layout", "cpu", says="No space left on device")
    assert os.listdir(disk) == ["p.flm"] and (disk / "p.flm").read_bytes() == before


def test_full_disk__cache(flashmem, wide_model, full_disk):
    disk = full_disk(8 << 20)
    flashmem.fails(
        "run", wide_model, "--random-inputs", 1, "--device", "null", "--cache-dir", disk, says="No space left on device"
    )
    assert not [p for p in disk.rglob("*") if p.is_file()]


def test_full_disk__outputs(flashmem, tmp_path, full_disk):
    model = support.mlp(tmp_path / "m.onnx", width=256, layers=1, rows=4096)  # outputs of 4.2 MB
    disk = full_disk(1 << 20)
    flashmem.fails(
        "run",
        model,
        "--random-inputs",
        1,
        "--device",
        "null",
        "--output-dir",
        disk / "out",
        says=[f"{disk}/out/", "No space left on device"],
    )
    assert not [p for p in disk.rglob("*") if p.is_file()]


@pytest.mark.parametrize("option", ["--json", "--trace"])
def test_full_disk__figures(flashmem, wide_pack, full_disk, option):
    disk = full_disk(4096)
    (disk / "fill").write_bytes(b"\0" * 4096)
    flashmem.fails(
        "run",
        wide_pack,
        "--random-inputs",
        1,
        "--device",
        "null",
        option,
        disk / "figures.json",
        says=[f"{disk}/figures.json", "No space left on device"],
    )
    assert os.listdir(disk) == ["fill"]


def test_full_disk__program_cache_does_not_matter(flashmem, small_model, small_pack, tmp_path, full_disk):
    """What cannot be cached is a log line: the answer stands."""
    disk = full_disk(4096)
    (disk / "fill").write_bytes(b"\0" * 4096)
    done = flashmem.ok("run", small_pack, "--random-inputs", 1, "--output-dir", tmp_path, "--cache-dir", disk)
    support.assert_close(
        support.load_folder(tmp_path), support.reference(small_model, support.load_folder(tmp_path / "inputs"))
    )
    assert "No space left on device" in done.err


@pytest.mark.parametrize("command", [["plan"], ["inspect"]])
def test_full_disk__standard_output(flashmem, wide_pack, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [flashmem.path, *command, wide_pack], stdout=full, stderr=subprocess.PIPE, text=True, env=flashmem.env
        )
    assert done.returncode == 1 and done.stderr.startswith("flashmem: ")


# --- outputs that must not be replaced ------------------------------------------------------------------------------


def written_by(option, small_model, small_pack, path):
    """A command that writes `path`."""
    if option == "-o":
        return ["compile", small_model, "--layout", "cpu", "-o", path]
    if option == "--manifest":
        return ["compile", small_model, "--layout", "cpu", "-o", path.with_suffix(".flm"), "--manifest", path]
    return ["run", small_pack, "--random-inputs", 1, "--device", "null", option, path]


@pytest.mark.parametrize("option", ["-o", "--manifest", "--json", "--trace"])
def test_output__takes_no_place_of_a_pipe_or_folder(flashmem, small_model, small_pack, tmp_path, option):
    """With enough rights a rename over /dev/null would replace it for the whole machine."""
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    for path, what in (pipe, "a device, pipe or socket"), (folder, "a folder"), (link, "a device, pipe or socket"):
        command = written_by(option, small_model, small_pack, path)
        flashmem.fails(*command, says=f"{path}: is {what}, only a regular file can be replaced")
    assert pipe.is_fifo() and folder.is_dir() and link.is_symlink()
    assert {p.name for p in tmp_path.iterdir()} <= {"pipe", "folder", "link"}


@pytest.mark.parametrize("option", ["-o", "--manifest", "--json", "--trace"])
def test_output__through_a_link(flashmem, small_model, small_pack, tmp_path, option):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    flashmem.ok(*written_by(option, small_model, small_pack, link))
    assert link.is_symlink() and file.read_bytes() not in (b"", b"old")


def test_output__array_takes_no_place_of_a_pipe(flashmem, small_pack, tmp_path):
    os.mkfifo(tmp_path / "y.npy")
    flashmem.fails("run", small_pack, "--random-inputs", 1, "--output-dir", tmp_path, says="only a regular file")
    assert (tmp_path / "y.npy").is_fifo()


def test_output__pack_over_its_own_model(flashmem, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=1, external=True)
    (tmp_path / "link").symlink_to(model)
    before = {p: p.read_bytes() for p in (model, tmp_path / "m.onnx.bin")}
    for path in (*before, tmp_path / "link"):
        flashmem.fails("compile", model, "-o", path, "--layout", "cpu", says=[str(path), "the pack would replace"])
    assert all(p.read_bytes() == data for p, data in before.items())


def test_json__model_whose_name_is_not_utf8(flashmem, tmp_path):
    model = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.onnx"))
    support.mlp(model, width=64, layers=1)
    pack = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.flm"))
    flashmem.ok("compile", model, "-o", pack, "--layout", "cpu")
    report = flashmem.report("run", pack, "--random-inputs", 1, "--device", "null", folder=tmp_path)
    assert report["pack"]["path"].endswith("/?.flm")


# --- signals --------------------------------------------------------------------------------------------------------


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def wait_for(condition, child, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end, "never began"
        time.sleep(0.002)


def reads_of(pid):
    """Bytes the process has read from storage or cache so far."""
    try:
        return int(re.search(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text()).group(1))
    except (OSError, AttributeError):
        return 0


@pytest.fixture(scope="module")
def endless(wide_pack):
    """Arguments of a run that lasts until it is stopped: weights stream in every one of its inferences."""
    return ["run", wide_pack, "--random-inputs", 1, "--budget", "40%", "--runs", 100000]


def stopped(flashmem, endless, tmp_path, how):
    child = flashmem.start(*endless, "--output-dir", tmp_path / "out", "--json", tmp_path / "r.json")
    time.sleep(1.0)
    assert child.poll() is None, child.communicate()
    child.send_signal(how)
    try:
        out, err = child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        child.kill()
        raise AssertionError(f"still there 20 s after {how.name}: {child.communicate()}") from None
    return child.returncode, out, err


def test_killed__the_next_run_is_good(flashmem, endless, wide_pack, wide_model, tmp_path):
    code, _, _ = stopped(flashmem, endless, tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL and not (tmp_path / "out").exists()
    flashmem.ok("run", wide_pack, "--random-inputs", 1, "--budget", "40%", "--output-dir", tmp_path / "again")
    support.assert_close(
        support.load_folder(tmp_path / "again"),
        support.reference(wide_model, support.load_folder(tmp_path / "again" / "inputs")),
    )


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_killed__with_empty_caches(fresh, wide_model, tmp_path, delay):
    """Wherever compiling, building programs or saving them was: nothing half-made is used."""
    child = fresh.start("run", wide_model, "--random-inputs", 1, "--budget", "40%", start_new_session=True)
    time.sleep(delay)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    fresh.ok("run", wide_model, "--random-inputs", 1, "--budget", "40%", "--output-dir", tmp_path / "out")
    support.assert_close(
        support.load_folder(tmp_path / "out"),
        support.reference(wide_model, support.load_folder(tmp_path / "out" / "inputs")),
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted__ends_cleanly(flashmem, endless, tmp_path, how):
    code, out, err = stopped(flashmem, endless, tmp_path, how)
    assert code == 1 and not out and ("cancelled" in err or "interrupted" in err), (code, out, err)
    assert not files_below(tmp_path)


def test_interrupted__while_compiling(fresh, tmp_path):
    """The signal reaches only this process, not its compiler: both stop, nothing is left."""
    model = support.mlp(tmp_path / "m.onnx", width=2048, layers=12, external=True)
    child = fresh.start("run", model, "--random-inputs", 1, "--device", "null")
    wait_for(lambda: list((tmp_path / "cache").rglob("*.flm.tmp-*")), child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 1 and ("cancelled" in err or "interrupted" in err), err
    assert not files_below(tmp_path / "cache")


def test_interrupted__compile(fresh, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=2048, layers=12, external=True)
    (tmp_path / "out").mkdir()
    child = fresh.start("compile", model, "-o", tmp_path / "out" / "p.flm", "--layout", "cpu")
    wait_for(lambda: os.listdir(tmp_path / "out"), child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 1 and "cancelled" in err and not os.listdir(tmp_path / "out"), err


def test_interrupted__at_any_moment(flashmem, wide_pack):
    """Start-up included: no crash, no hang, no success without outputs."""
    for delay in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
        child = flashmem.start("run", wide_pack, "--random-inputs", 1, "--budget", "40%", "--runs", 100000)
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
        assert child.returncode in (1, -signal.SIGINT), delay  # before the handler is there, the system's own end


def test_bench_interrupted__leaves_nothing(flashmem, wide_pack, tmp_path):
    child = flashmem.start("bench", wide_pack, "--cold", 500, env={"TMPDIR": tmp_path}, start_new_session=True)
    wait_for(lambda: os.listdir(tmp_path), child)
    time.sleep(0.5)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1 and err and not out
    assert not os.listdir(tmp_path)


def test_closed_pipe(flashmem, wide_pack):
    """`flashmem plan | head -1` ends like any other filter."""
    done = subprocess.run(
        ["sh", "-c", f"'{flashmem.path}' plan '{wide_pack}' --device null | head -1"],
        capture_output=True,
        text=True,
        timeout=60,
        env=flashmem.env,
    )
    assert done.returncode == 0 and done.stdout.count("\n") == 1


# --- damaged caches -------------------------------------------------------------------------------------------------


def cache_files(folder):
    """Everything but packs: device programs and profiles."""
    return [p for p in Path(folder).rglob("*") if p.is_file() and p.parent.name != "packs"]


def answer(program, pack, out, *arguments):
    program.ok("run", pack, "--random-inputs", 1, "--output-dir", out, "--json", f"{out}.json", *arguments)
    return np.load(out / "y.npy"), json.loads(Path(f"{out}.json").read_text())["cache"]["program"]


def test_program_cache__miss_then_hit(fresh, small_pack, tmp_path):
    first, second = (answer(fresh, small_pack, tmp_path / n) for n in "ab")
    assert first[1] == "miss" and second[1] == "hit" and np.array_equal(first[0], second[0])
    assert cache_files(tmp_path / "cache") and not [p for p in cache_files(tmp_path / "cache") if "tmp" in p.name]


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "random", "appended"])
def test_caches__damaged_files_are_rebuilt(fresh, small_pack, tmp_path, damage):
    want, _ = answer(fresh, small_pack, tmp_path / "0")
    files = cache_files(tmp_path / "cache")
    assert len(files) >= 2  # programs and a profile
    rng = np.random.default_rng(7)
    for path in files:
        data = path.read_bytes()
        middle = len(data) // 2
        path.write_bytes(
            {
                "empty": b"",
                "truncated": data[:middle],
                "random": rng.bytes(len(data)),
                "appended": data + b"x",
                "flipped": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
            }[damage]
        )
    got, cache = answer(fresh, small_pack, tmp_path / "1")
    assert np.array_equal(got, want) and (cache == "miss" or damage == "appended")
    got, cache = answer(fresh, small_pack, tmp_path / "2")
    assert np.array_equal(got, want) and cache == "hit"


def test_program_cache__entries_of_other_programs_are_not_used(fresh, small_pack, rows_pack, tmp_path):
    """Each entry's content under another entry's name: stale, not believed."""
    want, _ = answer(fresh, small_pack, tmp_path / "0")
    answer(fresh, rows_pack, tmp_path / "1")
    files = [
        p for p in cache_files(tmp_path / "cache") if p.parent.name == cache_files(tmp_path / "cache")[0].parent.name
    ]
    contents = [p.read_bytes() for p in files]
    for path, data in zip(files, contents[1:] + contents[:1]):
        path.write_bytes(data)
    assert np.array_equal(answer(fresh, small_pack, tmp_path / "2")[0], want)


def test_cache__that_cannot_be_written(fresh, small_pack, tmp_path):
    (tmp_path / "file").write_text("")
    want, _ = answer(fresh, small_pack, tmp_path / "0")
    assert np.array_equal(answer(fresh, small_pack, tmp_path / "1", "--cache-dir", tmp_path / "file")[0], want)


def test_no_cache__writes_none(fresh, small_pack, tmp_path):
    assert answer(fresh, small_pack, tmp_path / "0", "--no-cache")[1] == "miss"
    assert not (tmp_path / "cache").exists()


# --- memory ---------------------------------------------------------------------------------------------------------


class MemoryGroup:
    """A control group with a memory limit and no swap, version 2 or 1."""

    def __init__(self, limit):
        for root, names in (
            (Path("/sys/fs/cgroup"), [("memory.max", limit), ("memory.swap.max", 0)]),
            (Path("/sys/fs/cgroup/memory"), [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]),
        ):
            self.folder = root / f"flashmem-test-{os.getpid()}"
            try:
                self.folder.mkdir()
                if not (self.folder / names[0][0]).exists():
                    raise OSError(f"{self.folder} has no {names[0][0]}")
                for name, value in names:
                    if (self.folder / name).exists() or name == names[0][0]:
                        (self.folder / name).write_text(str(value))
                self.version = 2 if names[0][0] == "memory.max" else 1
                return
            except OSError as error:
                why = error
                self.close()
        pytest.skip(f"no memory control group can be made here: {why}")

    def run(self, command, env):
        entry = "import os,sys\nopen(sys.argv[1]+'/cgroup.procs','w').write(str(os.getpid()))\nos.execv(sys.argv[2],sys.argv[2:])"
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", entry, str(self.folder), *map(str, command)],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def close(self):
        for _ in range(50):
            try:
                return self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


@pytest.fixture
def memory_group():
    made = []

    def make(limit):
        made.append(MemoryGroup(int(limit)))
        return made[-1]

    yield make
    for group in made:
        group.close()


@pytest.fixture(scope="module")
def large_pack(flashmem, folder):
    flashmem.ok("compile", support.zoo("gptn-s"), "-o", folder / "gptn-s.flm", "--layout", "cpu", "--quiet")
    return folder / "gptn-s.flm"


@pytest.mark.parametrize("budget", ["12.5%", "min"])
def test_memory__proof_in_a_control_group(flashmem, large_pack, memory_group, tmp_path, budget):
    """GPT-Neo-S, 655 MB of weights, in (bare runtime + budget + 16 MiB): the budget binds what it says."""
    arguments = ["run", large_pack, "--random-inputs", 1, "--budget", budget]
    report = flashmem.report(*arguments, "--output-dir", tmp_path / "free", folder=tmp_path)
    bare = flashmem.peak_bytes("probe", "--quiet", folder=tmp_path)
    limit = bare + report["memory"]["budget_bytes"] + (16 << 20)
    done = memory_group(limit).run([flashmem.path, *arguments, "--output-dir", tmp_path / "bound"], flashmem.env)
    assert done.returncode == 0, f"limit {limit}: {done.returncode}\n{done.stderr}"
    free, bound = (support.load_folder(tmp_path / n) for n in ("free", "bound"))
    assert free.keys() == bound.keys() and all(np.array_equal(free[n], bound[n]) for n in free)


def test_memory__the_control_group_binds(flashmem, large_pack, memory_group):
    """The proof can fail: without a budget the same run does not fit."""
    bare = 64 << 20
    done = memory_group(bare).run(
        [flashmem.path, "run", large_pack, "--random-inputs", 1, "--budget", "off"], flashmem.env
    )
    assert done.returncode != 0


def test_memory__too_little_for_the_regions(flashmem, wide_pack):
    """An address-space limit: a message, not a crash."""
    command = [
        "prlimit",
        f"--as={160 << 20}",
        flashmem.path,
        "run",
        str(wide_pack),
        "--random-inputs",
        "1",
        "--device",
        "null",
        "--budget",
        "off",
    ]
    if not shutil.which("prlimit"):
        pytest.skip("prlimit (util-linux) is not installed")
    done = subprocess.run(command, env=flashmem.env, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
