#!/usr/bin/env python3
"""Writes tests/models/exports: skeletons of small networks as both PyTorch exporters emit them.

    export.py OUT [NAME...]

Needs torch, torchvision and transformers, which the test suite does not: the skeletons (graphs without their large
weights, see tools/zoo.py) are kept in the repository.  Names are FAMILY_EXPORTER.onnx.xz: ts17 is the TorchScript exporter
at opset 17, dy18 the dynamo exporter at opset 18, a trailing d symbolic batch and sequence sizes; FAMILY-4.40 came from
transformers 4.40, all others from 5.23.  What adds no pattern that another has was not kept.
"""
import io
import lzma
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

LARGE = 512  # elements of a float matrix that a skeleton leaves out
EXPORTS = [("ts", 11, False), ("ts", 13, True), ("ts", 17, False), ("ts", 17, True), ("dy", 18, False), ("dy", 20, True),
           ("dy", 23, False)]


def skeleton(model):
    """The model with large float initializers as external data that is not written, and what zoo.py fills them with."""
    offset = 0
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or np.prod(tensor.dims, dtype=np.int64) < LARGE:
            continue
        values = numpy_helper.to_array(tensor)
        if not np.abs(values).max() < 100 or np.unique(values).size < values.size // 4:
            continue  # a mask, or another computed constant
        std = float(np.std(values))
        length = int(np.prod(tensor.dims, dtype=np.int64)) * 4
        for field in ("raw_data", "float_data", "external_data"):
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        model.metadata_props.add(key=f"fill:{tensor.name}", value=f"normal:{std:.6g}")
        offset += -(-length // 64) * 64
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    del model.graph.value_info[:]
    return model


def families():
    import torch
    import torchvision
    import transformers as t

    size = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
    ids, mask = torch.randint(0, 100, (2, 16)), torch.ones(2, 16, dtype=torch.long)
    image = torch.randn(2, 3, 32, 32)
    text = {0: "batch", 1: "seq"}
    for kind in ("eager", "sdpa"):
        how = dict(attn_implementation=kind)
        yield (f"bert-{kind}", t.BertModel(t.BertConfig(vocab_size=100, max_position_embeddings=64, **how, **size)),
               dict(input_ids=ids, attention_mask=mask, token_type_ids=mask * 0), text)
        yield (f"gpt2-{kind}", t.GPT2LMHeadModel(t.GPT2Config(vocab_size=100, n_positions=64, n_embd=64, n_layer=2, n_head=4,
                                                              use_cache=False, **how)), dict(input_ids=ids), text)
        yield (f"vit-{kind}", t.ViTForImageClassification(t.ViTConfig(image_size=32, patch_size=8, **how, **size)),
               dict(pixel_values=image), {0: "batch"})
        yield (f"clip-vision-{kind}", t.CLIPVisionModelWithProjection(
            t.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=32, **how, **size)), dict(pixel_values=image),
               {0: "batch"})
        yield (f"clip-text-{kind}", t.CLIPTextModelWithProjection(
            t.CLIPTextConfig(vocab_size=100, max_position_embeddings=32, projection_dim=32, eos_token_id=99, bos_token_id=98,
                             **how, **size)), dict(input_ids=ids, attention_mask=mask), text)
    if hasattr(t, "LlamaConfig") and hasattr(t, "masking_utils"):
        yield ("llama", t.LlamaForCausalLM(t.LlamaConfig(vocab_size=100, num_key_value_heads=2, max_position_embeddings=64,
                                                         use_cache=False, **size)), dict(input_ids=ids), text)
    for name, make in (("vgg11", torchvision.models.vgg11), ("vgg11-bn", torchvision.models.vgg11_bn)):
        vgg = make()
        vgg.features = torch.nn.Sequential(*list(vgg.features)[:14 if name == "vgg11-bn" else 10])
        vgg.avgpool = torch.nn.AdaptiveAvgPool2d((2, 2))
        channels = [m for m in vgg.features if isinstance(m, torch.nn.Conv2d)][-1].out_channels
        vgg.classifier = torch.nn.Sequential(torch.nn.Linear(channels * 4, 64), torch.nn.ReLU(True), torch.nn.Dropout(),
                                             torch.nn.Linear(64, 10))
        yield name, vgg, dict(x=image), {0: "batch"}
    yield "mobilenet-v3", torchvision.models.mobilenet_v3_small(num_classes=10), dict(x=image), {0: "batch"}
    yield "densenet", torchvision.models.DenseNet(16, (2, 2), 16, num_classes=10), dict(x=image), {0: "batch"}
    yield "convnext", torchvision.models.convnext.ConvNeXt(
        [torchvision.models.convnext.CNBlockConfig(32, 64, 1), torchvision.models.convnext.CNBlockConfig(64, None, 1)],
        num_classes=10), dict(x=image), {0: "batch"}


def export(module, inputs, axes, exporter, opset, dynamic, path):
    import torch

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, *args):
            out = self.module(**dict(zip(inputs, args)))
            return out if torch.is_tensor(out) else tuple(x for x in out.to_tuple() if torch.is_tensor(x))

    how = dict(input_names=list(inputs), opset_version=opset, dynamo=exporter == "dy")
    if dynamic and exporter == "ts":
        how["dynamic_axes"] = {name: axes for name in inputs}
    if dynamic and exporter == "dy":
        sizes = {"batch": torch.export.Dim("batch", min=1, max=64), "seq": torch.export.Dim("seq", min=2, max=32)}
        how["dynamic_shapes"] = (tuple({k: sizes[v] for k, v in axes.items()} for _ in inputs),)
    torch.onnx.export(Plain().eval(), tuple(inputs.values()), path, **how)


def randomise(module):
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 1.5)
        if isinstance(part, (torch.nn.BatchNorm2d, torch.nn.LayerNorm)) and part.weight is not None:
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.uniform_(-0.5, 0.5)


def main():
    import torch

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    out, wanted = Path(sys.argv[1]), sys.argv[2:]
    for name, module, inputs, axes in families():
        if wanted and name not in wanted:
            continue
        randomise(module.eval())
        for exporter, opset, dynamic in EXPORTS:
            target = out / f"{name}_{exporter}{opset}{'d' if dynamic else ''}.onnx.xz"
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder) / "m.onnx")
                try:
                    export(module, inputs, axes, exporter, opset, dynamic, path)
                except Exception as why:  # an exporter that lacks an operator at this opset
                    print(f"{target.name}: left out: {str(why).splitlines()[0][:100]}")
                    continue
                data = io.BytesIO(skeleton(onnx.load(path)).SerializeToString())
                target.write_bytes(lzma.compress(data.getvalue(), preset=9))
                print(f"{target.name}: {target.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
