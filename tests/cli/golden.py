"""Golden files: what a command prints, line by line, with `*` for what may differ; how many spaces part words may too.

`pytest --update-goldens` writes files anew: a line that still matches stays as it is, a new one gets `*` in place of
every number with a fraction; widen it by hand where more may differ."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def matches(line, pattern):
    return fnmatchcase(" ".join(line.split()), " ".join(pattern.replace("[", "[[]").split()))


def mask(line):
    return re.sub(r"-?\d+\.\d+(e[+-]?\d+)?", "*", line)


def check(name, text, update):
    path = FOLDER / name
    golden = path.read_text().splitlines() if path.exists() else []
    lines = [line.rstrip() for line in text.splitlines()]
    if update:
        kept = [next((g for g in golden if matches(line, g)), None) or mask(line) for line in lines]
        path.write_text("".join(line + "\n" for line in kept))
        return
    assert golden, f"{path} is missing: run pytest with --update-goldens"
    for number, (line, pattern) in enumerate(zip(lines, golden), 1):
        assert matches(line, pattern), f"{name}:{number}\n  printed  {line}\n  expected {pattern}"
    assert len(lines) == len(golden), f"{name}: {len(lines)} lines, {len(golden)} expected\n{text}"
