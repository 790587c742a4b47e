"""Arrays that do not fit the model, and NumPy files that are not what they say."""

import io
import random
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper

import support


def refused(flashmem, pack, spec, says):
    """Reading and checking arrays needs no device."""
    flashmem.fails("run", pack, "--input", spec, "--device", "null", says=says)


@pytest.mark.parametrize(
    "array, says",
    [
        (np.zeros((4, 256)), "input 'x' is float64, the model wants float32"),
        (np.zeros((4, 256), np.float16), "input 'x' is float16, the model wants float32"),
        (np.zeros((4, 256), np.int64), "input 'x' is int64, the model wants float32"),
        (np.zeros((4, 256), bool), "input 'x' is bool, the model wants float32"),
        (np.zeros((4, 255), np.float32), "input 'x' has shape 4x255, the model wants 4x256"),
        (np.zeros((256, 4), np.float32), "input 'x' has shape 256x4, the model wants 4x256"),
        (np.zeros((1, 4, 256), np.float32), "input 'x' has shape 1x4x256, the model wants 4x256"),
        (np.zeros(1024, np.float32), "input 'x' has shape 1024, the model wants 4x256"),
        (np.zeros((), np.float32), "input 'x' has shape scalar, the model wants 4x256"),
        (np.zeros((0, 256), np.float32), "input 'x' has shape 0x256, the model wants 4x256"),
        (
            np.zeros((4, 256), ">f4"),
            "not a little-endian plain array; save it with numpy.save(file, a.astype(a.dtype.newbyteorder('<')))",
        ),
        (np.zeros((4, 256), np.complex64), "element type '<c8' is not a number or bool"),
        (np.zeros((4, 256), "S4"), "element type '|S4' is not a number or bool"),
        (np.zeros((4, 256), "M8[s]"), "element type '<M8[s]' is not a number or bool"),
        (np.zeros((4, 256), [("a", "<f4")]), "not a little-endian plain array"),
        (
            np.asfortranarray(np.ones((4, 256), np.float32)),
            "column-major (fortran_order); save numpy.ascontiguousarray(a)",
        ),
        (np.zeros((1,) * 9, np.float32), "more than 8 dimensions"),
    ],
)
def test_array__that_does_not_fit(flashmem, small_pack, tmp_path, array, says):
    np.save(tmp_path / "x.npy", array)
    refused(flashmem, small_pack, tmp_path / "x.npy", says)


def npy(header, version=1, data=b"\0" * 4096):
    text = header.encode() if isinstance(header, str) else header
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 256), }"


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "not a .npy file"),
        (b"\x93NUMPY", "not a .npy file"),
        (b"\x93NUMPX\x01\x00" + b"\0" * 100, "not a .npy file"),
        (b"PK\x03\x04" + b"\0" * 100, "not a .npy file"),
        (npy(GOOD, 4), ".npy format version 4 is unknown"),
        (npy(GOOD, 0), ".npy format version 0 is unknown"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 10, "ends inside its header"),
        (b"\x93NUMPY\x02\x00\xff\xff", "ends inside its header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 100, "a header of 2147483647 bytes is not plausible"),
        (npy(""), "not a little-endian plain array"),
        (npy("{}"), "not a little-endian plain array"),
        (npy("'descr':"), "not a little-endian plain array"),
        (npy("{'descr': "), "not a little-endian plain array"),
        (npy("{'descr': '"), "not a little-endian plain array"),
        (npy("{'descr': '<"), "is not a number or bool"),
        (npy("{'descr': '<f"), "is not a number or bool"),
        (npy("{'descr': '<f4', 'shape': (4, 256), }"), "column-major (fortran_order)"),
        (npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4, 256), }"), "column-major (fortran_order)"),
        (npy("{'descr': '<f4', 'fortran_order': False, }"), "no shape in the header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': 4}"), "no shape in the header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 256"), "malformed shape in the header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, x)}"), "malformed shape in the header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 256)}"), "malformed shape in the header"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"),
            "malformed shape in the header",
        ),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}"),
            "the shape in the header is too large",
        ),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2)}"),
            "the shape in the header is too large",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}"), "more than 8 dimensions"),
        (npy(GOOD, data=b"\0" * 4095), "holds 4095 of the 4096 bytes its header promises"),
        (npy(GOOD, data=b""), "holds 0 of the 4096 bytes"),
        (npy(GOOD, data=b"\0" * 4097), "more bytes than its header promises"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}"), "holds 4096 of the 4000000000 bytes"),
    ],
)
def test_npy__malformed(flashmem, small_pack, tmp_path, data, says):
    (tmp_path / "x.npy").write_bytes(data)
    refused(flashmem, small_pack, tmp_path / "x.npy", [f"{tmp_path}/x.npy: ", says])


def test_npy__flipped_header(flashmem, small_pack, tmp_path):
    """An error, or a header that says the same."""
    rng = random.Random(5)
    np.save(tmp_path / "good.npy", np.zeros((4, 256), np.float32))
    good = (tmp_path / "good.npy").read_bytes()
    for _ in range(80):
        at = rng.randrange(128)
        (tmp_path / "x.npy").write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
        done = flashmem("run", small_pack, "--input", tmp_path / "x.npy", "--device", "null", "--quiet")
        assert done.code == 0 or "x.npy: " in done.err or "input 'x'" in done.err, done


def archive(path, change=None, **members):
    """An .npz; change(bytes) -> bytes damages it."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members.items():
            z.writestr(f"{name}.npy", data)
    data = memory.getvalue()
    path.write_bytes(change(data) if change else data)
    return path


def good_npy(seed=0):
    memory = io.BytesIO()
    np.save(memory, np.random.default_rng(seed).standard_normal((4, 256)).astype(np.float32))
    return memory.getvalue()


def test_npz__malformed(flashmem, small_pack, tmp_path):
    for data in (b"", b"PK", b"not a zip file at all", b"PK\x05\x06" + b"\xff" * 18):
        (tmp_path / "x.npz").write_bytes(data)
        refused(flashmem, small_pack, tmp_path / "x.npz", f"{tmp_path}/x.npz")


def test_npz__without_members(flashmem, small_pack, tmp_path):
    archive(tmp_path / "x.npz")
    flashmem.fails("run", small_pack, "--input", tmp_path / "x.npz", "--device", "null", says="x.npz")


def test_npz__member_is_not_an_array(flashmem, small_pack, tmp_path):
    refused(flashmem, small_pack, archive(tmp_path / "x.npz", x=b"hello"), f"{tmp_path}/x.npz[x.npy]: not a .npy file")


def test_npz__member_is_cut_short(flashmem, small_pack, tmp_path):
    refused(
        flashmem, small_pack, archive(tmp_path / "x.npz", x=good_npy()[:-1]), "[x.npy]: holds 4095 of the 4096 bytes"
    )


def test_npz__member_twice(flashmem, small_pack, tmp_path):
    with pytest.warns(UserWarning):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as z:
            z.writestr("x.npy", good_npy())
            z.writestr("x.npy", good_npy())
    flashmem.fails(
        "run", small_pack, "--input", tmp_path / "x.npz", "--device", "null", code=2, says="input 'x' is given twice"
    )


def test_npz__truncated_or_flipped(flashmem, small_pack, tmp_path):
    """Never other numbers than those that were saved: members carry a checksum."""
    archive(tmp_path / "good.npz", x=good_npy())
    good = (tmp_path / "good.npz").read_bytes()
    rng = random.Random(6)
    changed = [good[:n] for n in rng.sample(range(len(good)), 15)]
    for _ in range(40):
        at = rng.randrange(len(good))
        changed.append(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    want = np.load(io.BytesIO(good_npy()))
    for i, data in enumerate(changed):
        (tmp_path / "x.npz").write_bytes(data)
        done = flashmem(
            "run",
            small_pack,
            "--input",
            tmp_path / "x.npz",
            "--random-inputs",
            1,
            "--device",
            "null",
            "--quiet",
            "--output-dir",
            tmp_path / str(i),
        )
        if done.code == 0:
            assert np.array_equal(np.load(tmp_path / str(i) / "inputs" / "x.npy"), want), i


def test_input__file_that_is_not_there(flashmem, small_pack, tmp_path):
    for spec in (f"x={tmp_path}/none.npy", f"{tmp_path}/none.npz", f"{tmp_path}/none.npy"):
        refused(flashmem, small_pack, spec, [f"{tmp_path}/none.np"])
    refused(flashmem, small_pack, f"x={tmp_path}", str(tmp_path))


@pytest.mark.parametrize("bad, row", [(1000, 0), (-1001, 5), (2**40, 15)])
def test_index__out_of_range(flashmem, rows_pack, tmp_path, bad, row):
    ids = np.zeros((2, 8), np.int64)
    ids.flat[row] = bad
    np.save(tmp_path / "ids.npy", ids)
    refused(
        flashmem,
        rows_pack,
        tmp_path / "ids.npy",
        f"input 'ids': value {bad} at position {row} is used as an index, which must lie below 1000",
    )


def test_index__below_zero_counts_from_the_end(flashmem, rows_pack, rows_model, tmp_path):
    ids = np.array([[-1, -1000, 0, 999, 5, 5, -5, 7], [1, 2, 3, 4, 5, 6, 7, 8]])
    np.save(tmp_path / "ids.npy", ids)
    flashmem.ok("run", rows_pack, "--input", tmp_path / "ids.npy", "--output-dir", tmp_path / "out")
    support.assert_close(support.load_folder(tmp_path / "out"), support.reference(rows_model, {"ids": ids}))


def test_shapes__that_disagree(flashmem, tmp_path):
    """Two inputs share the symbol n."""
    model = support.save_model(
        tmp_path / "m.onnx",
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [support.tensor("a", TensorProto.FLOAT, ["n"]), support.tensor("b", TensorProto.FLOAT, ["n"])],
        [support.tensor("y", TensorProto.FLOAT, ["n"])],
        {},
    )
    np.savez(tmp_path / "in.npz", a=np.zeros(3, np.float32), b=np.zeros(4, np.float32))
    flashmem.fails("run", model, "--input", tmp_path / "in.npz", says=["dimension 'n' is 3", "and 4"])
