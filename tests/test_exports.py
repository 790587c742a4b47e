"""Small networks as both PyTorch exporters write them (tests/models/exports, made by tests/models/export.py)."""
import subprocess
import sys
from pathlib import Path

import pytest
from models import compare
from support import ROOT, reference

EXPORTS = sorted((Path(__file__).parent / "models" / "exports").glob("*.onnx.xz"))
assert EXPORTS


@pytest.mark.parametrize("skeleton", EXPORTS, ids=lambda p: p.name.removesuffix(".onnx.xz"))
def test_export(flashmem, tmp_path, skeleton):
    subprocess.run([sys.executable, ROOT / "tools" / "zoo.py", tmp_path, skeleton], check=True, capture_output=True)
    model = tmp_path / skeleton.name.removesuffix(".xz")
    feeds = compare.model_feeds(model, {"batch": 2, "seq": 13}, padded=True)
    got, _ = compare.run(flashmem, tmp_path / "run", model, feeds, "--budget", "off")
    compare.assert_equal_enough(got, reference(model, feeds))
