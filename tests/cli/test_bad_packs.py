"""Damaged packs: every one is refused with a message, or runs to the right answer; never a crash, a hang or a wrong one."""

import os
import random
import shutil
import struct

import numpy as np
import pytest

import support

# src/contract/pack.h: magic; version, header bytes, layout, weights; bytes up to the overlap plans, float weight bytes;
# then offset and bytes of strings, weights, objects, checksums, programs, and of all tables.
HEADER = struct.Struct("<8sIIIIQQ12Q")


def header(pack):
    """(offset of the tables, their bytes, file bytes)"""
    fields = HEADER.unpack_from(pack.read_bytes())
    return fields[17], fields[18], fields[5]


def objects(pack):
    """File offset and bytes of each placed object, from the pack's object table."""
    data = pack.read_bytes()
    at, size = HEADER.unpack_from(data)[11:13]
    return [struct.unpack_from("<QQ", data, at + i) for i in range(0, size, 40)]


def damaged(pack, path, offset, mask=0x10):
    shutil.copyfile(pack, path)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
    return path


@pytest.fixture(scope="module")
def tiny_pack(flashmem, folder):
    model = support.mlp(folder / "tiny.onnx", width=64, layers=2)
    flashmem.ok("compile", model, "-o", folder / "tiny.flm", "--layout", "cpu")
    return folder / "tiny.flm"


@pytest.fixture(scope="module")
def tiny_answer(flashmem, tiny_pack, folder):
    flashmem.ok("run", tiny_pack, "--random-inputs", 1, "--output-dir", folder / "tiny-out")
    return np.load(folder / "tiny-out" / "y.npy")


def test_header__is_where_this_file_thinks(tiny_pack):
    at, size, total = header(tiny_pack)
    assert at == 4096 and size > 0 and total == tiny_pack.stat().st_size
    assert objects(tiny_pack) and all(o % 4096 == 0 and b % 4096 == 0 and o + b <= total for o, b in objects(tiny_pack))


def test_truncated__at_any_length(flashmem, tiny_pack, tmp_path):
    data = tiny_pack.read_bytes()
    rng = random.Random(1)
    lengths = {
        0,
        1,
        7,
        8,
        11,
        12,
        100,
        4095,
        4096,
        4097,
        len(data) - 1,
        len(data) - 4095,
        len(data) - 4096,
        *rng.sample(range(len(data)), 20),
    }
    for length in sorted(lengths):
        path = tmp_path / "t.flm"
        path.write_bytes(data[:length])
        for command in (["inspect"], ["run", "--random-inputs", 1, "--device", "null"]):
            flashmem.fails(command[0], path, *command[1:], says=f"{path}: ")


@pytest.mark.parametrize(
    "length, says",
    [
        (0, "0 bytes long, a pack has at least 4096"),
        (4000, "4000 bytes long, a pack has at least 4096"),
        (4096, "the file is truncated or overwritten"),
        (-1, "the file is truncated or overwritten"),
    ],
)
def test_truncated__says_so(flashmem, tiny_pack, tmp_path, length, says):
    path = tmp_path / "t.flm"
    path.write_bytes(tiny_pack.read_bytes()[:length])
    flashmem.fails("run", path, "--random-inputs", 1, "--device", "null", says=[str(path), says])


def test_longer__than_its_header_says(flashmem, tiny_pack, tmp_path):
    """What a writer of overlap plans leaves behind that did not come to its end."""
    path = tmp_path / "t.flm"
    path.write_bytes(tiny_pack.read_bytes() + bytes(5000))
    flashmem.ok("run", path, "--random-inputs", 1, "--device", "null")
    flashmem.ok("inspect", path, "--verify")


@pytest.mark.parametrize("text", ["", "FLASHMEM", "FLASHMEM" + "\0" * 5000, "x" * 9000])
def test_not_a_pack(flashmem, tmp_path, text):
    path = tmp_path / "t.flm"
    path.write_text(text)
    for command in (["inspect"], ["run", "--random-inputs", 1, "--device", "null"], ["plan", "--device", "null"]):
        flashmem.fails(command[0], path, *command[1:], says=str(path))


@pytest.mark.parametrize(
    "offset, says",
    [
        (0, 'not a pack: it does not begin with "FLASHMEM"'),
        (8, "this program reads version 2: compile the model again"),
        (12, "a header of"),
        (16, "the header does not match its checksum"),
        (24, "the header does not match its checksum"),
        (100, "the header does not match its checksum"),
        (2000, "behind the header is not zero"),
    ],
)
def test_header__flipped(flashmem, tiny_pack, tmp_path, offset, says):
    flashmem.fails(
        "run", damaged(tiny_pack, tmp_path / "t.flm", offset), "--random-inputs", 1, "--device", "null", says=says
    )


def test_tables__flipped(flashmem, tiny_pack, tmp_path):
    at, size, _ = header(tiny_pack)
    for offset in random.Random(2).sample(range(at, at + size), 25):
        flashmem.fails(
            "run",
            damaged(tiny_pack, tmp_path / "t.flm", offset),
            "--random-inputs",
            1,
            "--device",
            "null",
            says="the tables do not match their checksum: the file is damaged",
        )


@pytest.mark.parametrize("runner", [["--device", "null"], [], ["--serial"], ["--budget", "off"]])
def test_weights__flipped_names_the_weight(flashmem, wide_pack, tmp_path, runner):
    """One bit in the middle of the largest objects; nothing is computed with it."""
    large = [o for o in objects(wide_pack) if o[1] >= 1 << 22]
    assert len(large) == 6
    offset, size = large[2]
    path = damaged(wide_pack, tmp_path / "t.flm", offset + size // 2 + 1)
    flashmem.fails(
        "run",
        path,
        "--random-inputs",
        1,
        "--budget",
        "50%",
        "--output-dir",
        tmp_path / "out",
        *runner,
        says=[str(path), "weight 'w2'", "checksum"],
    )
    assert not (tmp_path / "out" / "y.npy").exists()
    flashmem.fails("inspect", path, "--verify", says=[str(path), "w2", "do not match their checksum"])


def test_weights__flipped_bundle(flashmem, tiny_pack, tmp_path):
    offset, size = objects(tiny_pack)[0]
    path = damaged(tiny_pack, tmp_path / "t.flm", offset + 5)
    flashmem.fails("run", path, "--random-inputs", 1, "--device", "null", says=[str(path), "checksum"])


def test_weights__flipped_row(flashmem, rows_pack, rows_model, tmp_path):
    """Only the rows that are read are checked: a run that does not touch the damaged one is right."""
    data = rows_pack.read_bytes()
    row = 321
    table = support.onnx.numpy_helper.to_array(
        next(t for t in support.onnx.load(rows_model).graph.initializer if t.name == "table")
    )
    offset = data.find(table[row].tobytes())
    assert offset > 0
    path = damaged(rows_pack, tmp_path / "t.flm", offset + 17)
    ids = np.full((2, 8), row)
    np.save(tmp_path / "ids.npy", ids)
    flashmem.fails(
        "run", path, "--input", tmp_path / "ids.npy", says=[str(path), f"row {row} of table", "table", "checksum"]
    )
    ids[:] = row - 1
    np.save(tmp_path / "ids.npy", ids)
    flashmem.ok("run", path, "--input", tmp_path / "ids.npy", "--output-dir", tmp_path / "out")
    support.assert_close(support.load_folder(tmp_path / "out"), support.reference(rows_model, {"ids": ids}))


def test_anywhere__an_error_or_the_right_answer(flashmem, tiny_pack, tiny_answer, tmp_path):
    rng = random.Random(3)
    total = tiny_pack.stat().st_size
    refused = 0
    for i in range(30):
        path = damaged(tiny_pack, tmp_path / "t.flm", rng.randrange(total), 1 << rng.randrange(8))
        done = flashmem("run", path, "--random-inputs", 1, "--output-dir", tmp_path / str(i), "--quiet")
        if done.code == 0:  # padding between tables and weights
            assert np.array_equal(np.load(tmp_path / str(i) / "y.npy"), tiny_answer)
        else:
            refused += 1
            assert str(path) in done.err
    assert refused >= 15


def test_swapped_weights(flashmem, wide_pack, tmp_path):
    """Two whole weights of equal size exchanged: checksums are of positions."""
    large = [o for o in objects(wide_pack) if o[1] >= 1 << 22]
    data = bytearray(wide_pack.read_bytes())
    (a, size), (b, _) = large[0], large[1]
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    path = tmp_path / "t.flm"
    path.write_bytes(data)
    flashmem.fails("run", path, "--random-inputs", 1, "--device", "null", says=["weight 'w0'", "checksum"])


def test_cached_pack__damaged_is_an_error_that_names_it(fresh, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=2)
    fresh.ok("run", model, "--random-inputs", 1, "--device", "null")
    pack = next((tmp_path / "cache" / "packs").glob("*.flm"))
    damaged(pack, tmp_path / "t.flm", 5000)
    shutil.copyfile(tmp_path / "t.flm", pack)
    fresh.fails(
        "run",
        model,
        "--random-inputs",
        1,
        "--device",
        "null",
        says=[
            f"{pack}: the tables do not match their checksum",
            f"the damaged pack was removed from the cache; run again to compile {model} anew",
        ],
    )
    fresh.ok("run", model, "--random-inputs", 1, "--device", "null")


def test_cached_pack__damaged_weights_are_compiled_again(fresh, tmp_path):
    model = support.mlp(tmp_path / "m.onnx", width=64, layers=2)
    fresh.ok("run", model, "--random-inputs", 1, "--device", "null")
    pack = next((tmp_path / "cache" / "packs").glob("*.flm"))
    damaged(pack, tmp_path / "t.flm", objects(pack)[0][0] + 100)
    shutil.copyfile(tmp_path / "t.flm", pack)
    fresh.fails(
        "run", model, "--random-inputs", 1, "--device", "null", says=[str(pack), "checksum", "run again to compile"]
    )
    fresh.ok("run", model, "--random-inputs", 1, "--device", "null")


def test_given_pack__is_never_removed(flashmem, tiny_pack, tmp_path):
    path = damaged(tiny_pack, tmp_path / "t.flm", 5000)
    flashmem.fails("run", path, "--random-inputs", 1, "--device", "null", says="damaged")
    assert path.exists()


@pytest.mark.parametrize("kind", ["folder", "fifo", "missing", "unreadable"])
def test_not_a_file(flashmem, tmp_path, kind):
    path = tmp_path / "p.flm"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "unreadable":
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        path.write_text("FLASHMEM")
        path.chmod(0)
    for command in (["inspect", path], ["run", path, "--random-inputs", 1, "--device", "null"], ["plan", path]):
        flashmem.fails(*command, says=f"{path}: ", timeout=20)
