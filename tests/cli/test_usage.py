"""Help texts, versions and usage errors of the command line."""

import re
import subprocess

import golden
import pytest

COMMANDS = ["compile", "run", "plan", "simulate", "inspect", "devices", "bench", "profile", "probe"]


def test_help__lists_the_commands(flashmem, request):
    golden.check("help.txt", flashmem.ok("--help").out, request.config.getoption("--update-goldens"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help__lists_every_option(flashmem, request, command):
    done = flashmem.ok(command, "--help")
    assert not done.err
    golden.check(f"help_{command}.txt", done.out, request.config.getoption("--update-goldens"))


def test_help__after_other_options(flashmem):
    assert flashmem.ok("run", "--budget", "25%", "-h").out == flashmem.ok("run", "--help").out


def test_version(flashmem):
    assert re.fullmatch(r"flashmem \d+\.\d+\.\d+\n", flashmem.ok("--version").out)


def test_no_command__prints_help_as_an_error(flashmem):
    done = flashmem()
    assert done.code == 2 and not done.out and done.err == flashmem.ok("--help").out


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["frobnicate"], "unknown command 'frobnicate'; 'flashmem --help' lists them"),
        (["--budget", "25%"], "unknown command '--budget'"),
        (["run"], "'run' needs a file; see 'flashmem run --help'"),
        (["run", "--budget", "off"], "'run' needs a file"),
        (["run", "a.flm", "b.flm"], "'run' takes one file, and 'b.flm' is one too many"),
        (["devices", "x"], "'devices' takes no file, and 'x' is one too many"),
        (["run", "--frobnicate", "a.flm"], "unknown option '--frobnicate'; see 'flashmem run --help'"),
        (["run", "-x", "a.flm"], "unknown option '-x'"),
        (["run", "--Budget", "25%", "a.flm"], "unknown option '--Budget'"),
        (["plan", "--trace", "t.json", "a.flm"], "'plan' has no option --trace"),
        (["inspect", "--budget", "25%", "a.flm"], "'inspect' has no option --budget"),
        (["compile", "--input", "x=x.npy", "a.onnx"], "'compile' has no option --input"),
        (["compile", "a.onnx"], "compile needs --output PACK (-o)"),
        (["run", "a.flm", "--budget"], "--budget needs off|auto|min|N%|BYTES"),
        (["compile", "a.onnx", "-o"], "--output needs FILE"),
        (["run", "--serial=1", "a.flm"], "--serial takes no value"),
        (["run", "--runs", "0", "a.flm"], "--runs is at least 1"),
        (["run", "--runs", "-1", "a.flm"], "--runs takes a whole number from 0 to 1000000, not '-1'"),
        (["run", "--runs", "two", "a.flm"], "--runs takes a whole number from 0 to 1000000, not 'two'"),
        (["run", "--runs", "3.5", "a.flm"], "not '3.5'"),
        (["run", "--threads", "99999999999999999999", "a.flm"], "--threads takes a whole number"),
        (["run", "--log", "loud", "a.flm"], "--log is error, warn, info, debug or trace, not 'loud'"),
        (
            ["run", "--memory-path", "carrier-pigeon", "a.flm"],
            "--memory-path is in-place, texture-copy, texture-embedded or dma, not 'carrier-pigeon'",
        ),
        (["run", "--random-inputs", "x", "a.flm"], "--random-inputs takes a whole number, not 'x'"),
        (["run", "--random-inputs", "-1", "a.flm"], "--random-inputs takes a whole number, not '-1'"),
        (["run", "--random-inputs", "", "a.flm"], "--random-inputs takes a whole number, not ''"),
        (["run", "--random-inputs", "99999999999999999999999", "a.flm"], "--random-inputs takes a whole number"),
        (["compile", "a.onnx", "-o", "a.flm", "--weights", "fp8"], "--weights is fp32 or fp16, not 'fp8'"),
        (["compile", "a.onnx", "-o", "a.flm", "--layout", "spiral"], "--layout is cpu, texture or gpu, not 'spiral'"),
        (
            ["compile", "a.onnx", "-o", "a.flm", "--shape", "x"],
            "--shape 'x': write NAME=1x128 for an input or NAME=128 for a symbolic dimension",
        ),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "=3"], "--shape '=3': write NAME=1x128"),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "x="], "--shape 'x=': write NAME=1x128"),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "x=3x-1"], "'3x-1' is not up to 8 dimensions joined by x"),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "x=3xx4"], "'3xx4' is not up to 8 dimensions"),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "x=1x2x3x4x5x6x7x8x9"], "is not up to 8 dimensions"),
        (["compile", "a.onnx", "-o", "a.flm", "--shape", "x=99999999999999999999"], "is not up to 8 dimensions"),
    ],
)
def test_usage_error(flashmem, arguments, says):
    done = flashmem.fails(*arguments, code=2, says=says)
    assert not done.out and done.err.startswith("flashmem: ") and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "budget",
    [
        "",
        "25",
        "off",
        "auto",
        "min",
        "minimum",
        "0",
        "25%",
        "12.5%",
        "80M",
        "80MB",
        "64MiB",
        "64KiB",
        "1.5G",
        "2GiB",
        "1e6",
        "1T",
        "-1G",
        "-100MiB",
    ],
)
def test_budget__accepts(flashmem, tmp_path, budget):
    """What is accepted gets as far as the file, which is not there; the empty text is refused."""
    done = flashmem("run", "--budget", budget, tmp_path / "none.flm")
    assert done.code == (1 if budget else 2), done


@pytest.mark.parametrize(
    "budget, says",
    [
        ("lots", "'lots' is not a size: a number with K, M, G (powers of 1000) or KiB, MiB, GiB (of 1024)"),
        ("5Q", "'5Q' is not a size"),
        ("5 M", "'5 M' is not a size"),
        ("5m", "'5m' is not a size"),
        ("nan", "'nan' is not a size"),
        ("inf", "'inf' is not a size"),
        ("1e30", "'1e30' is not a size"),
        ("--5M", "is not a size"),
        ("-", "is not a size"),
        ("%", "is not a size"),
        ("-5%", "'-5%' is not a percentage"),
        ("x%", "'x%' is not a percentage"),
        ("5%%", "'5%%' is not a percentage"),
        ("nan%", "is not a percentage"),
    ],
)
def test_budget__refuses(flashmem, tmp_path, budget, says):
    flashmem.fails("run", "--budget", budget, tmp_path / "none.flm", code=2, says=says)


def test_options__in_any_order_and_spelling(flashmem, tmp_path):
    path = tmp_path / "none.flm"
    for arguments in (
        ["--budget", "25%", path],
        [path, "--budget", "25%"],
        [path, "--budget=25%"],
        ["--quiet", path, "--runs=2"],
    ):
        flashmem.fails("run", *arguments, says=f"flashmem: {path}: No such file or directory")


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("FLASHMEM_BUDGET", "lots", "'lots' is not a size"),
        ("FLASHMEM_THREADS", "many", "--threads takes a whole number"),
        ("FLASHMEM_LOG", "loud", "--log is error, warn"),
        ("FLASHMEM_CACHE_LIMIT", "lots", "'lots' is not a size"),
    ],
)
def test_environment__fills_options(flashmem, tmp_path, name, value, says):
    flashmem.fails("run", tmp_path / "none.flm", env={name: value}, code=2, says=says)


def test_environment__the_command_line_wins(flashmem, tmp_path):
    flashmem.fails(
        "run", "--budget", "25%", tmp_path / "none.flm", env={"FLASHMEM_BUDGET": "lots"}, says="No such file"
    )


def test_environment__other_commands_ignore_it(flashmem, tmp_path):
    flashmem.fails("inspect", tmp_path / "none.flm", env={"FLASHMEM_BUDGET": "lots"}, says="No such file")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_standard_output__full(flashmem, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([flashmem.path, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "standard output: No space left on device" in done.stderr
