"""Graphs broken on purpose: what the comparisons of test_models.py would not see would be worth nothing.

The program runs the broken graph, ONNX Runtime the whole one, and the tolerance must be exceeded."""
import pytest
from models import compare, edit
from support import reference, zoo

FLAWS = [(model, flaw) for model in ("gptn-s", "minilm-l6") for flaw in ("no mask", "heads swapped", "layer dropped")]
FLAWS += [("vit-b16", "heads swapped"), ("vit-b16", "layer dropped"), ("resnet50", "channels swapped"),
          ("resnet50", "layer dropped")]


def broken(model, flaw):
    if flaw == "no mask":
        return edit.without_mask(model)
    if flaw == "heads swapped":  # of the values that one attention reads: [1, heads, S, D]
        last = [n for n in edit.of_type(model, "Softmax")][-1]
        product = next(n for n in model.graph.node if last.output[0] in n.input)
        return edit.swap_first_two(model, product.input[1], 1)
    if flaw == "channels swapped":
        return edit.swap_first_two(model, edit.of_type(model, "Relu")[-2].output[0], 1)
    if edit.of_type(model, "Conv") and not edit.of_type(model, "Softmax"):  # resnet50: a block without downsampling
        sums = [n for n in edit.of_type(model, "Add")]
        return edit.drop(model, edit.of_type(model, "Relu")[-1].output[0], next(i for i in sums[-1].input if "relu" in i))
    norms = edit.of_type(model, "LayerNormalization")
    if producer_is_norm(model, norms):  # post-norm: layers end in a norm
        return edit.drop(model, norms[4].output[0], norms[2].output[0])
    sums = edit.residual_sums(model)
    return edit.drop(model, sums[-3], sums[-5])


def producer_is_norm(model, norms):
    return model.graph.output[0].name == norms[-1].output[0]


@pytest.mark.parametrize("name,flaw", FLAWS)
def test_flaw_is_seen(flashmem, tmp_path, name, flaw):
    path = zoo(name)
    feeds = compare.model_feeds(path, words=30000, padded=True)
    wrong = edit.save(broken(edit.load(path), flaw), path, tmp_path / "broken")
    got, _ = compare.run(flashmem, tmp_path, wrong, feeds, "--budget", "off")
    found = compare.differences(got, reference(path, feeds))
    assert max(ratio for ratio, _ in found.values()) > 2 * compare.TOLERANCE["fp32"], found
    # and the program computes the broken graph as ONNX Runtime does
    compare.assert_equal_enough(got, reference(wrong, feeds))
