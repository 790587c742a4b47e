"""`flashmem run`: inputs, shapes, outputs."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import support
from support import assert_close, load_folder, reference


def outputs(flashmem, path, out, *arguments, **options):
    flashmem.ok("run", path, "--output-dir", out, *arguments, **options)
    return load_folder(out)


# --- inputs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sum_model(folder):
    """a [3, 5] and b [3, 5] -> sum."""
    shape = [3, 5]
    return support.save_model(
        folder / "sum.onnx",
        [helper.make_node("Add", ["a", "b"], ["sum"], "add")],
        [support.tensor(n, TensorProto.FLOAT, shape) for n in "ab"],
        [support.tensor("sum", TensorProto.FLOAT, shape)],
        {},
    )


@pytest.fixture(scope="module")
def sum_inputs():
    rng = np.random.default_rng(3)
    return {n: rng.standard_normal((3, 5)).astype(np.float32) for n in "ab"}


def test_input__from_npy(flashmem, sum_model, sum_inputs, tmp_path):
    for name, array in sum_inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    got = outputs(
        flashmem, sum_model, tmp_path / "out", "--input", f"a={tmp_path}/a.npy", "--input", f"b={tmp_path}/b.npy"
    )
    assert_close(got, reference(sum_model, sum_inputs))
    # named after the file
    assert_close(
        outputs(flashmem, sum_model, tmp_path / "out2", "--input", tmp_path / "a.npy", "--input", tmp_path / "b.npy"),
        got,
    )


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_input__from_npz(flashmem, sum_model, sum_inputs, tmp_path, save):
    """NumPy writes every member with a 64-bit header."""
    save(tmp_path / "in.npz", **sum_inputs)
    got = outputs(flashmem, sum_model, tmp_path / "out", "--input", tmp_path / "in.npz")
    assert_close(got, reference(sum_model, sum_inputs))


def test_input__npz_and_npy_together(flashmem, sum_model, sum_inputs, tmp_path):
    np.savez(tmp_path / "in.npz", a=sum_inputs["a"])
    np.save(tmp_path / "anything=else.npy", sum_inputs["b"])
    got = outputs(
        flashmem,
        sum_model,
        tmp_path / "out",
        "--input",
        tmp_path / "in.npz",
        "--input",
        f"b={tmp_path}/anything=else.npy",
    )
    assert_close(got, reference(sum_model, sum_inputs))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_input__npy_format_versions(flashmem, sum_model, sum_inputs, tmp_path, version):
    for name, array in sum_inputs.items():
        with open(tmp_path / f"{name}.npy", "wb") as file:
            np.lib.format.write_array(file, array, version)
    got = outputs(flashmem, sum_model, tmp_path / "out", "--input", tmp_path / "a.npy", "--input", tmp_path / "b.npy")
    assert_close(got, reference(sum_model, sum_inputs))


def test_input__the_rest_is_generated(flashmem, sum_model, sum_inputs, tmp_path):
    np.save(tmp_path / "a.npy", sum_inputs["a"])
    got = outputs(flashmem, sum_model, tmp_path / "out", "--input", tmp_path / "a.npy", "--random-inputs", 7)
    used = load_folder(tmp_path / "out" / "inputs")
    assert np.array_equal(used["a"], sum_inputs["a"]) and used.keys() == {"a", "b"}
    assert_close(got, reference(sum_model, used))


def test_no_input__lists_them(flashmem, sum_model, tmp_path):
    done = flashmem.fails(
        "run",
        sum_model,
        says=[
            "no inputs (wanted at least 'a'): give --random-inputs SEED, or:",
            "--input a=FILE.npy    float32 3x5",
            "--input b=FILE.npy    float32 3x5",
        ],
    )
    assert not done.out


def test_one_input_missing__lists_them(flashmem, sum_model, sum_inputs, tmp_path):
    np.save(tmp_path / "a.npy", sum_inputs["a"])
    flashmem.fails(
        "run", sum_model, "--input", tmp_path / "a.npy", says=["input 'b' is missing; the model takes:", "float32 3x5"]
    )


def test_unknown_input__lists_them(flashmem, sum_model, sum_inputs, tmp_path):
    np.savez(tmp_path / "in.npz", **sum_inputs, c=sum_inputs["a"])
    flashmem.fails(
        "run",
        sum_model,
        "--input",
        tmp_path / "in.npz",
        says=["the model has no input 'c'; it takes:", "--input a=FILE.npy"],
    )


def test_input_twice(flashmem, sum_model, sum_inputs, tmp_path):
    np.save(tmp_path / "a.npy", sum_inputs["a"])
    flashmem.fails(
        "run",
        sum_model,
        "--input",
        tmp_path / "a.npy",
        "--input",
        f"a={tmp_path}/a.npy",
        code=2,
        says="input 'a' is given twice",
    )


def test_scalar_input(flashmem, tmp_path):
    model = support.save_model(
        tmp_path / "m.onnx",
        [helper.make_node("Mul", ["x", "s"], ["y"])],
        [support.tensor("x", TensorProto.FLOAT, [3]), support.tensor("s", TensorProto.FLOAT, [])],
        [support.tensor("y", TensorProto.FLOAT, [3])],
        {},
    )
    feeds = {"x": np.array([1, 2, 3], np.float32), "s": np.float32(2.5)}
    for name, array in feeds.items():
        np.save(tmp_path / f"{name}.npy", array)
    got = outputs(flashmem, model, tmp_path / "out", "--input", tmp_path / "x.npy", "--input", tmp_path / "s.npy")
    assert got["y"].tolist() == [2.5, 5, 7.5]


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_shape__unfixed_is_an_error_that_lists_them(flashmem, dynamic_model):
    flashmem.fails("run", dynamic_model, "--random-inputs", 1, says=["x", "batch", "--shape"])


@pytest.mark.parametrize("shape", ["x=5x32", "batch=5"])
def test_shape__fixes_input_or_symbol(flashmem, dynamic_model, tmp_path, shape):
    got = outputs(flashmem, dynamic_model, tmp_path / "out", "--shape", shape, "--random-inputs", 1)
    x = np.load(tmp_path / "out" / "inputs" / "x.npy")
    assert x.shape == (5, 32)
    assert_close(got, {"y": 2 * x})


def test_shape__taken_from_the_given_array(flashmem, dynamic_model, tmp_path):
    x = np.random.default_rng(0).standard_normal((7, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert_close(outputs(flashmem, dynamic_model, tmp_path / "out", "--input", tmp_path / "x.npy"), {"y": 2 * x})


def test_shape__that_the_model_contradicts(flashmem, small_model):
    flashmem.fails(
        "run",
        small_model,
        "--shape",
        "x=5x255",
        "--random-inputs",
        1,
        says="input 'x' has dimension 4 at axis 0, the given shape has 5",
    )


def test_shape__of_no_input(flashmem, small_model):
    flashmem.fails("run", small_model, "--shape", "sequence=5", "--random-inputs", 1, says="sequence")


def test_shape__of_a_pack(flashmem, small_pack):
    for option in (["--shape", "x=4x256"], ["--weights", "fp16"], ["--layout", "cpu"]):
        flashmem.fails(
            "run",
            small_pack,
            *option,
            "--random-inputs",
            1,
            code=2,
            says="--shape, --weights and --layout apply to a model",
        )


def test_weights_in_the_environment__do_not_stop_a_pack(flashmem, small_pack):
    flashmem.ok("run", small_pack, "--random-inputs", 1, "--device", "null", env={"FLASHMEM_WEIGHTS": "fp16"})


# --- random inputs --------------------------------------------------------------------------------------------------


def test_random_inputs__reproducible(flashmem, small_pack, tmp_path):
    got = [
        outputs(flashmem, small_pack, tmp_path / str(i), "--random-inputs", seed) for i, seed in enumerate([5, 5, 6])
    ]
    used = [load_folder(tmp_path / str(i) / "inputs")["x"] for i in range(3)]
    assert np.array_equal(used[0], used[1]) and np.array_equal(got[0]["y"], got[1]["y"])
    assert not np.array_equal(used[0], used[2])


def test_random_inputs__floats_are_uniform(flashmem, small_pack, tmp_path):
    outputs(flashmem, small_pack, tmp_path, "--random-inputs", 1, "--device", "null")
    x = load_folder(tmp_path / "inputs")["x"]
    assert x.dtype == np.float32 and x.min() >= -1 and x.max() < 1
    assert abs(x.mean()) < 0.1 and abs(x.std() - 3**-0.5) < 0.05 and len(np.unique(x)) > 1000


def test_random_inputs__indices_lie_in_the_table(flashmem, rows_model, tmp_path):
    got = outputs(flashmem, rows_model, tmp_path, "--random-inputs", 1)
    ids = load_folder(tmp_path / "inputs")["ids"]
    assert ids.dtype == np.int64 and ids.min() >= 0 and ids.max() < 1000 and ids.max() > 600
    assert_close(got, reference(rows_model, {"ids": ids}))


def test_random_inputs__below_the_smallest_axis(flashmem, tmp_path):
    """One input that indexes tables of 100 and of 7 rows."""
    rng = np.random.default_rng(0)
    weights = {
        "large": rng.standard_normal((100, 32)).astype(np.float32),
        "small": rng.standard_normal((7, 32)).astype(np.float32),
    }
    model = support.save_model(
        tmp_path / "m.onnx",
        [
            helper.make_node("Gather", ["large", "ids"], ["p"]),
            helper.make_node("Gather", ["small", "ids"], ["q"]),
            helper.make_node("Add", ["p", "q"], ["y"]),
        ],
        [support.tensor("ids", TensorProto.INT64, [200])],
        [support.tensor("y", TensorProto.FLOAT, [200, 32])],
        weights,
    )
    got = outputs(flashmem, model, tmp_path / "out", "--random-inputs", 1)
    ids = load_folder(tmp_path / "out" / "inputs")["ids"]
    assert set(ids.tolist()) == set(range(7))
    assert_close(got, reference(model, {"ids": ids}))


def test_random_inputs__of_the_zoo_model(flashmem, tmp_path):
    """Token ids of GPT-Neo-S lie below its 50257 words; the null device needs no kernels."""
    outputs(flashmem, support.zoo("gptn-s"), tmp_path, "--random-inputs", 1, "--device", "null", "--budget", "min")
    used = load_folder(tmp_path / "inputs")
    ids = next(a for n, a in used.items() if "ids" in n)
    assert ids.min() >= 0 and ids.max() < 50257 and ids.max() > 1000


def test_random_inputs__masks_are_one(flashmem, tmp_path):
    outputs(flashmem, support.zoo("minilm-l6"), tmp_path, "--random-inputs", 1, "--device", "null", "--budget", "min")
    used = load_folder(tmp_path / "inputs")
    assert all((a == 1).all() for n, a in used.items() if "mask" in n) and any("mask" in n for n in used)


# --- outputs --------------------------------------------------------------------------------------------------------


def test_outputs__names_sanitised_and_numbered(flashmem, tmp_path):
    names = ["a/b", "a:b", "a_b", "a_b_2", "../up", "Ünï", "x.y-z", " "]
    nodes = [helper.make_node("Mul", ["x", f"c{i}"], [n]) for i, n in enumerate(names)]
    weights = {f"c{i}": np.float32(i + 1).reshape(()) for i in range(len(names))}
    model = support.save_model(
        tmp_path / "m.onnx",
        nodes,
        [support.tensor("x", TensorProto.FLOAT, [2])],
        [support.tensor(n, TensorProto.FLOAT, [2]) for n in names],
        weights,
    )
    np.save(tmp_path / "x.npy", np.array([1, 10], np.float32))
    got = outputs(flashmem, model, tmp_path / "deep" / "er" / "out", "--input", tmp_path / "x.npy")
    files = {n: int(a[0]) for n, a in got.items()}
    assert files == {"a_b": 1, "a_b_2": 2, "a_b_3": 3, "a_b_2_2": 4, ".._up": 5, "__n__": 6, "x.y-z": 7, "_": 8}
    assert all(a.tolist() == [a[0], 10 * a[0]] for a in got.values())
    assert not list(tmp_path.glob("*.npy.*")) and not (tmp_path / "deep" / "up.npy").exists()


def test_outputs__of_many_types(flashmem, tmp_path):
    """Integer and boolean outputs keep their types."""
    model = support.save_model(
        tmp_path / "m.onnx",
        [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Cast", ["x"], ["j"], to=TensorProto.INT32),
            helper.make_node("Greater", ["x", "zero"], ["b"]),
        ],
        [support.tensor("x", TensorProto.FLOAT, [2, 3])],
        [
            support.tensor("i", TensorProto.INT64, [2, 3]),
            support.tensor("j", TensorProto.INT32, [2, 3]),
            support.tensor("b", TensorProto.BOOL, [2, 3]),
        ],
        {"zero": np.float32(0).reshape(())},
    )
    x = np.array([[1.7, -2.7, 0], [5, -1, 100]], np.float32)
    np.save(tmp_path / "x.npy", x)
    got = outputs(flashmem, model, tmp_path / "out", "--input", tmp_path / "x.npy")
    want = reference(model, {"x": x})
    assert got.keys() == want.keys()
    assert all(np.array_equal(got[n], want[n]) and got[n].dtype == want[n].dtype for n in want)


def test_outputs__into_a_folder_that_is_a_file(flashmem, small_pack, tmp_path):
    (tmp_path / "out").write_text("")
    flashmem.fails(
        "run",
        small_pack,
        "--random-inputs",
        1,
        "--device",
        "null",
        "--output-dir",
        tmp_path / "out",
        says=[f"{tmp_path}/out", "Not a directory"],
    )


@pytest.mark.parametrize("budget", ["off", "min", "50%"])
def test_runs__equal_outputs(flashmem, wide_pack, tmp_path, budget):
    once = outputs(flashmem, wide_pack, tmp_path / "1", "--random-inputs", 1, "--budget", budget)
    thrice = outputs(flashmem, wide_pack, tmp_path / "3", "--random-inputs", 1, "--budget", budget, "--runs", 3)
    assert np.array_equal(once["y"], thrice["y"])
    assert (
        "2 further runs: median"
        in flashmem.ok("run", wide_pack, "--random-inputs", 1, "--runs", 3, "--budget", budget).out
    )


def test_serial__same_outputs(flashmem, wide_pack, wide_model, tmp_path):
    got = outputs(flashmem, wide_pack, tmp_path, "--random-inputs", 1, "--budget", "50%", "--serial", "--runs", 2)
    assert_close(got, reference(wide_model, load_folder(tmp_path / "inputs")))


def test_quiet__prints_nothing(flashmem, small_pack):
    done = flashmem.ok("run", small_pack, "--random-inputs", 1, "--quiet")
    assert not done.out and not done.err
