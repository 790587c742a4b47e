#!/usr/bin/env python3
"""Fails on an include that the layer table forbids: check_layers.py [ROOT].

The rows say which of our folders a folder may include; every folder may also include its own headers, the public
headers of include/flashmem, and system headers.  cli, examples and bindings see include/ only.  Quoted includes are
rooted at src/ ("base/error.h"), or lie beside the file.  Prints file:line for each offence; exit code 1 if any.
"""
import os
import re
import sys

MAY_INCLUDE = {
    "src/base": [],
    "src/contract": ["base"],
    "src/schedule": ["base", "contract"],
    "src/kernels": ["base", "contract"],
    "src/compile": ["base", "contract", "schedule", "kernels"],
    "src/run": ["base", "contract", "schedule", "kernels"],
    "cli": [],
    "examples": [],
    "bindings": [],
    "include": [],
}
LAYERS = ("base", "contract", "schedule", "kernels", "compile", "run")
SOURCES = (".c", ".h", ".cl", ".clh", ".def", ".inc")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
GENERATED = re.compile(r"^[a-z0-9_]+\.pb-c\.h$")


def forbidden(root, folder, path, name, quoted):
    """Why the file at path, in the layer `folder`, may not include `name`; None when it may."""
    own = folder.rsplit("/", 1)[-1] if folder.startswith("src/") else None
    first = name.split("/", 1)[0]
    if first == "flashmem":
        return None if os.path.exists(os.path.join(root, "include", name)) else "no such public header"
    if not quoted:
        return "ours, but in angle brackets" if first in LAYERS and "/" in name else None
    if GENERATED.match(name):
        return None if own == "compile" else "generated messages belong to compile"
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    rooted = os.path.normpath(os.path.join("src", name))
    for target in (beside, rooted):
        if not os.path.exists(os.path.join(root, target)):
            continue
        if target.startswith(folder + "/"):
            return None
        layer = target.split("/")[1] if target.startswith("src/") else target.split("/")[0]
        if target.startswith("src/") and own and layer in MAY_INCLUDE[folder]:
            return None
        return f"{folder} may not include {target}"
    return "no such file beside it, in src/ or in include/"


def check_file(root, folder, path):
    """Offences in one file, as printable lines."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            why = forbidden(root, folder, path, match[1] or match[2], bool(match[1]))
            if why:
                yield f'{path}:{number}: {line.strip()}: {why}'


def check(root):
    """Offences in the tree, and how many files were read."""
    offences, count = [], 0
    for folder in MAY_INCLUDE:
        for where, _, files in os.walk(os.path.join(root, folder)):
            for file in sorted(files):
                if file.endswith(SOURCES):
                    count += 1
                    path = os.path.relpath(os.path.join(where, file), root)
                    offences += check_file(root, folder, path)
    return offences, count


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    offences, count = check(root)
    print("\n".join(offences) or f"{count} files keep to the layers")
    if count == 0:
        print(f"no sources under {root}")
    return 1 if offences or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
