"""The layer check finds what it is for, and accepts this tree."""
import os
import subprocess
import sys

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import check_layers  # noqa: E402


@pytest.fixture
def tree(tmp_path):
    """A small tree that keeps to the layers."""
    files = {
        "include/flashmem/run.h": "#include <stdint.h>\n",
        "src/base/error.h": '#include "flashmem/run.h"\n',
        "src/contract/pack.h": '#include "base/error.h"\n',
        "src/compile/graph/graph.h": '#include "contract/pack.h"\n#include "onnx.pb-c.h"\n',
        "src/compile/compile.c": '#include "compile/graph/graph.h"\n',
        "src/run/run.c": '#include "contract/pack.h"\n#include <stdio.h>\n',
        "cli/main.c": '#include "flashmem/run.h"\n#include "options.h"\n',
        "cli/options.h": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_check_layers__accepts_a_tree_in_order(tree):
    assert check_layers.check(str(tree)) == ([], 8)


@pytest.mark.parametrize("path, include", [
    ("src/base/a.c", '"contract/pack.h"'),
    ("src/contract/a.c", '"compile/graph/graph.h"'),
    ("src/run/a.c", '"compile/graph/graph.h"'),
    ("src/run/a.c", '"../compile/graph/graph.h"'),
    ("src/run/gpu/a.c", '"../../compile/graph/graph.h"'),
    ("src/compile/graph/a.c", '"run/run.c"'),
    ("src/run/a.c", '"onnx.pb-c.h"'),
    ("src/compile/a.c", "<base/error.h>"),
    ("src/compile/a.c", '"missing.h"'),
    ("cli/a.c", '"base/error.h"'),
    ("cli/a.c", '"../src/base/error.h"'),
    ("examples/x/a.c", '"contract/pack.h"'),
    ("include/flashmem/a.h", '"base/error.h"'),
])
def test_check_layers__finds_the_offence(tree, path, include):
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(f"\n# include {include}\n")
    offences, _ = check_layers.check(str(tree))
    assert len(offences) == 1 and offences[0].startswith(f"{path}:2:")


def test_check_layers__accepts_this_tree():
    tool = os.path.join(ROOT, "tools", "check_layers.py")
    done = subprocess.run([sys.executable, tool, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
