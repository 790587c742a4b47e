"""Models broken on purpose, as graph edits."""
import numpy as np
import onnx
from onnx import helper, numpy_helper


def load(path):
    return onnx.load(path, load_external_data=False)


def save(model, source, folder):
    """Writes the model where its external data can be found: a link beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    data = source.with_suffix(".bin")
    link = folder / data.name
    if data.exists() and not link.exists():
        try:
            link.hardlink_to(data)
        except OSError:
            link.symlink_to(data)
    path = folder / source.name
    onnx.save(model, path)
    return path


def producer(model, tensor):
    return next(n for n in model.graph.node if tensor in n.output)


def of_type(model, op_type):
    return [n for n in model.graph.node if n.op_type == op_type]


def redirect(model, old, new, after=None):
    """Every node that reads `old` reads `new` (after: only nodes behind that one)."""
    found, on = 0, after is None
    for node in model.graph.node:
        if on:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new
                    found += 1
        on = on or node is after
    assert found, f"nobody reads {old}"


def insert_after(model, node, new):
    model.graph.node.insert(list(model.graph.node).index(node) + 1, new)


def swap_first_two(model, tensor, axis):
    """Elements 0 and 1 of an axis change places."""
    node = producer(model, tensor)
    shaped = onnx.shape_inference.infer_shapes(model)
    info = {v.name: v for v in shaped.graph.value_info}[tensor]
    size = info.type.tensor_type.shape.dim[axis].dim_value
    order = np.arange(size)
    order[:2] = 1, 0
    name = f"{tensor}.order"
    model.graph.initializer.append(numpy_helper.from_array(order.astype(np.int64), name))
    redirect(model, tensor, f"{tensor}.swapped")
    insert_after(model, node, helper.make_node("Gather", [tensor, name], [f"{tensor}.swapped"], f"{tensor}.swap", axis=axis))
    return model


def drop(model, result, source):
    """What lies between two tensors of one shape is skipped."""
    redirect(model, result, source)
    return model


def residual_sums(model):
    """Outputs of additions of two run-time tensors of the trunk, in order: one after each half of a layer."""
    constants = {t.name for t in model.graph.initializer}
    sums = []
    for node in of_type(model, "Add"):
        if not any(i in constants for i in node.input):
            sums.append(node.output[0])
    return sums


def without_mask(model):
    """Scores go to the softmax as the product of queries and keys left them: masks and their additions are skipped."""
    for softmax in of_type(model, "Softmax"):
        node = producer(model, softmax.input[0])
        while node.op_type in ("Add", "Where"):
            made = {o: n for n in model.graph.node for o in n.output}
            scores = [i for i in node.input if i in made and made[i].op_type in ("MatMul", "Mul", "Where", "Add")
                      and leads_to_product(made, i)]
            softmax.input[0] = scores[0]
            node = made[scores[0]]
    return model


def leads_to_product(made, tensor):
    node = made.get(tensor)
    while node is not None and node.op_type in ("Add", "Where", "Mul"):
        node = next((made[i] for i in node.input if i in made and made[i].op_type in ("MatMul", "Mul", "Where", "Add")), None)
    return node is not None and node.op_type == "MatMul"
