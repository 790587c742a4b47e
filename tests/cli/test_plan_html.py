"""`flashmem plan --html`: the page in a headless browser, of plans made by hand and of real ones."""

import json
import re
import shutil
import subprocess

import pytest

import browser as browsers
import support

MADE = support.BUILD / "tests" / "write_made_plan"
FIXED = ["--device", "null", "--disk-rate", "1G", "--slab", "2MiB", "--read-depth", "4", "--read-size", "1MiB"]
CTRL = 2
PIXELS = """(id => { const c = document.querySelector(`#${id} canvas`), n = {};
  const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  [copy.canvas.width, copy.canvas.height] = [c.width, c.height];
  copy.drawImage(c, 0, 0);
  const d = copy.getImageData(0, 0, c.width, c.height).data;
  for (const name of ['disk', 'kept', 'convert', 'wait', 'reusable', 'activations', 'images', 'room']) n[name] = 0;
  const rgb = Object.fromEntries(Object.keys(n).map(name => [colour(name).match(/\\d+/g).slice(0, 3).join(), name]));
  for (let i = 0; i < d.length; i += 4) { const name = rgb[[d[i], d[i + 1], d[i + 2]].join()]; if (name) n[name]++; }
  return n; })"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not browsers.program():
        system = open("/etc/os-release").read()
        assert re.search("^ID=ubuntu", system, re.M), "no browser: run tools/setup.sh, or set FLASHMEM_BROWSER"
        pytest.skip("Ubuntu has Chromium as a snap only: FLASHMEM_BROWSER may name another browser")
    one = browsers.Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made("timed", 2000): folder with plan.html, plan.json, problem.json, plan.txt of a plan made by hand."""
    folders = {}

    def make(kind, steps):
        if (kind, steps) not in folders:
            folder = tmp_path_factory.mktemp(f"{kind}{steps}")
            done = subprocess.run([MADE, kind, str(steps), folder], capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
            (folder / "plan.txt").write_bytes(done.stdout)
            folders[kind, steps] = folder
        return folders[kind, steps]

    return make


@pytest.fixture
def opened(browser, made):
    """opened("timed", 2000) -> browser, showing that plan's page, which has had nothing to complain about."""

    def show(kind, steps, **options):
        browser.open(made(kind, steps) / "plan.html", **options)
        browser.settle()
        assert browser.complaints() == []
        return browser

    yield show
    assert browser.complaints() == []


def text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).textContent")


def center(browser, selector):
    """Coordinates in the window, after scrolling there."""
    return browser.run(
        f"(b => [b.x + b.width / 2, b.y + b.height / 2])((e => (e.scrollIntoView({{block: 'center'}}), "
        f"e.getBoundingClientRect()))(document.querySelector({json.dumps(selector)})))")


def selected(browser):
    return browser.run("(d => [d.dataset.kind, Number(d.dataset.index)])(document.getElementById('details'))")


def shown(browser):
    """First and last launch that the charts show."""
    return [int(n) for n in re.search(r"launches (\d+) to (\d+)", text(browser, "#range")).groups()]


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_page__draws_2000_launches_in_time(opened, made):
    assert (made("timed", 2000) / "plan.html").stat().st_size < 2e6
    browser = opened("timed", 2000)
    assert 0 < browser.run("performance.getEntriesByName('plan-drawn')[0].startTime") < 2000
    assert shown(browser) == [0, 1999]
    browser.run("zoomAt(SPAN / 2, 1 / 30)")  # until blocks are wider than pixels
    browser.settle()
    timeline, memory, capacity = (browser.run(f"{PIXELS}('{id}')") for id in ("timeline", "memory", "capacity"))
    assert min(timeline[n] for n in ("disk", "kept", "wait", "reusable")) > 100 and timeline["convert"] == 0
    assert min(memory[n] for n in ("disk", "kept", "activations")) > 100 and memory["images"] == 0
    assert capacity["disk"] > 100


@pytest.mark.parametrize("kind, steps", [("timed", 1), ("timed", 3), ("texture", 300), ("overlap", 600), ("empty", 0)])
def test_page__draws_every_kind(opened, kind, steps):
    browser = opened(kind, steps)
    timeline, memory = (browser.run(f"{PIXELS}('{id}')") for id in ("timeline", "memory"))
    assert (timeline["reusable"] > 0) == (steps > 0)
    assert (timeline["convert"] > 0) == (kind in ("texture", "overlap"))
    assert (memory["images"] > 0) == (kind == "texture")
    hidden = browser.run("[...document.querySelectorAll('section')].filter(s => s.hidden).map(s => s.id)")
    assert ("weights-section" in hidden) == (kind != "overlap") and ("objects-section" in hidden) == (steps == 0)
    assert ("curve-section" in hidden) == (kind == "empty")
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_page__dark(opened):
    surface = "getComputedStyle(document.body).backgroundColor"
    browser = opened("timed", 300, scheme="dark")
    assert browser.run(surface) == "rgb(20, 23, 27)"
    dark, pixels = browser.run("colour('disk')"), browser.run(f"{PIXELS}('timeline')")
    assert pixels["disk"] > 100 and pixels["reusable"] > 100
    browser.click(*center(browser, "#theme"))
    assert (browser.run(surface), text(browser, "#theme")) == ("rgb(255, 255, 255)", "light colours")
    assert browser.run("colour('disk')") != dark and browser.run(f"{PIXELS}('timeline')")["disk"] > 100
    browser.click(*center(browser, "#theme"))
    assert (browser.run(surface), text(browser, "#theme")) == ("rgb(20, 23, 27)", "dark colours")


# --- search, keys, pointer -------------------------------------------------------------------------------------------


def test_page__search_shows_a_weight(opened):
    browser = opened("timed", 2000)
    browser.key("/")
    browser.type("block.77/mlp/in/wei")
    found = browser.run("[...document.querySelectorAll('#found li')].map(e => e.textContent)")
    assert found == ["object 310block.77/mlp/in/weight"]
    browser.key("Enter")
    browser.settle()
    assert selected(browser) == ["object", 310] and browser.run("document.getElementById('found').hidden")
    details = text(browser, "#details")
    assert "block.77/mlp/in/weight" in details and "kept in memory that is left" in details
    first, last = shown(browser)
    assert 0 < first <= 930 <= last < 1999
    row, box = browser.run("[document.querySelector('#objects tr[aria-selected]'), document.querySelector('#objects .grid')]"
                           ".map(e => (r => [r.top, r.bottom])(e.getBoundingClientRect()))")
    assert box[0] <= row[0] and row[1] <= box[1]
    assert browser.run("document.querySelector('#objects tr[aria-selected]').cells[1].textContent") == "block.77/mlp/in/weight"


def test_page__search_walks_through_steps(opened):
    browser = opened("timed", 2000)
    browser.key("/")
    browser.type("norm")
    browser.key("ArrowDown")
    browser.key("ArrowDown")
    assert text(browser, "#found li[aria-selected=true]") == "launch 4block.0/attention/key/norm"
    assert "more: type more of the name" in text(browser, "#found li:last-child")
    browser.key("Enter")
    browser.settle()
    assert selected(browser) == ["launch", 4]
    browser.key("ArrowDown")  # opens the list again
    browser.key("Escape")
    assert browser.run("document.getElementById('found').hidden")
    browser.run("document.getElementById('search').value = ''")
    browser.type("no such name")
    assert text(browser, "#found") == "nothing has this in its name"
    browser.key("Enter")
    assert selected(browser) == ["launch", 4]


def test_page__search_by_number(opened):
    browser = opened("timed", 2000)
    browser.key("/")
    browser.type("1500")
    browser.key("Enter")
    assert selected(browser) == ["launch", 1500]


def test_page__charts_by_key(opened):
    browser = opened("timed", 2000)
    browser.run("document.querySelector('#memory canvas').focus()")
    whole = shown(browser)
    browser.key("+")
    browser.key("+")
    browser.settle()
    near = shown(browser)
    assert whole[0] < near[0] < near[1] < whole[1]
    browser.key("ArrowRight")
    browser.settle()
    assert shown(browser)[0] > near[0]
    browser.key("]")
    first = selected(browser)
    browser.key("]")
    browser.settle()
    assert first[0] == "launch" and selected(browser) == ["launch", first[1] + 1]
    browser.key("0")
    browser.settle()
    assert shown(browser) == whole


@pytest.mark.parametrize("chart", ["timeline", "memory", "capacity"])
def test_page__charts_by_pointer(opened, chart):
    browser = opened("timed", 2000)
    x, y = center(browser, f"#{chart} canvas")
    for _ in range(3):
        browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300, modifiers=CTRL)
    browser.settle()
    near = shown(browser)
    assert 0 < near[0] and near[1] < 1999 and near[1] - near[0] < 400
    browser.mouse("mousePressed", x, y, button="left")
    browser.mouse("mouseMoved", x - 150, y, button="left", buttons=1)
    browser.mouse("mouseReleased", x - 150, y, button="left")
    browser.settle()
    moved = shown(browser)
    assert moved[0] > near[0] + 10 and selected(browser) == ["", 0]  # a drag selects nothing
    assert abs((moved[1] - moved[0]) - (near[1] - near[0])) < 0.25 * (near[1] - near[0])
    lane = y if chart != "timeline" else browser.run("document.querySelector('#timeline canvas').getBoundingClientRect().y + 120")
    for step in range(40):  # some launch lies there
        browser.mouse("mouseMoved", x + step, lane)
        if not browser.run("tip.hidden"):
            break
    assert re.search(r"launch: \d+ of 2,000", text(browser, "#tip"))
    browser.click(x + step, lane)
    kind, index = selected(browser)
    assert kind == "launch" and moved[0] <= index <= moved[1]


def test_page__table_by_key_and_order(opened):
    browser = opened("timed", 2000)
    browser.run("document.querySelector('#launches .grid').focus()")
    browser.key("End")
    browser.settle()
    assert selected(browser) == ["launch", 1999]
    assert browser.run("document.querySelectorAll('#launches tbody tr').length") < 80  # not one for every launch
    browser.click(*center(browser, "#launches th:nth-child(6) button"))  # waits, the longest first
    waits = browser.run("[...document.querySelectorAll('#launches tr[data-item]')].map(r => STEPS.stall[r.dataset.item])")
    assert browser.run("document.querySelector('#launches th:nth-child(6)').ariaSort") == "descending"
    browser.run("document.querySelector('#launches .grid').scrollTop = 0")
    browser.settle()
    waits = browser.run("[...document.querySelectorAll('#launches tr[data-item]')].map(r => STEPS.stall[r.dataset.item])")
    assert waits == sorted(waits, reverse=True) and waits[0] == browser.run("Math.max(...STEPS.stall)")
    browser.run("(s => { s.value = 'that wait'; s.dispatchEvent(new Event('change')) })(document.querySelector('#launches select'))")
    rows = re.match(r"(\d+) of 2,000 rows", text(browser, "#launches .controls span"))
    assert int(rows[1]) == browser.run("STEPS.stall.filter(s => s > 0).length")


# --- hostile names ---------------------------------------------------------------------------------------------------


def test_page__names_are_text(opened, made):
    browser = opened("hostile", 90)
    assert browser.run("[document.images.length, document.querySelectorAll('script').length]") == [0, 2]
    assert not browser.run("document.title").startswith("broken")
    names = browser.run("[...Array(LAUNCHES).keys()].map(launchName)")
    assert "</script><img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>" in names
    assert "__proto__" in names and "w" * 5000 in names and "not ?? UTF-8 ?" in names
    cells = browser.run("[...document.querySelectorAll('#launches tr[data-item]')].map(r => [r.dataset.item, r.cells[1].textContent])")
    assert cells and all(cell == names[int(item)] for item, cell in cells)
    for launch in range(0, 90, 3):
        browser.run(f"select({{kind: 'launch', index: {launch}}})")
        assert names[launch] in text(browser, "#details")
        browser.run(f"showTip({{kind: 'launch', index: {launch}}}, {{clientX: 5, clientY: 5}})")
    browser.key("/")
    browser.type("</script>")
    assert "</script><img" in text(browser, "#found")
    browser.key("Enter")
    browser.settle()
    assert browser.run("document.images.length") == 0 and not browser.run("document.title").startswith("broken")


def test_page__markup_is_refused_by_the_page_itself(opened):
    """Should a script ever give a name to the parser, the page's policy stops it."""
    browser = opened("timed", 3)
    assert browser.run("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'taken' } catch (e) { return e.name } })()") == "TypeError"
    browser.events.clear()  # the refusal itself


def test_page__needs_no_network(made):
    page = (made("hostile", 90) / "plan.html").read_text(encoding="ascii")
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:,)""", re.sub(r"<script.*</script>", "", page, flags=re.S))
    assert page.count("</script>") == 2 and "http://" not in page.replace("http://www.w3.org/2000/svg", "")


# --- paper -----------------------------------------------------------------------------------------------------------


def run_tool(*command):
    assert shutil.which(command[0]), f"{command[0]} is missing: run tools/setup.sh"
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def first_page(pdf, name):
    run_tool("pdftoppm", "-r", "50", "-f", "1", "-l", "1", "-singlefile", pdf, pdf.with_name(name))
    return pdf.with_name(f"{name}.ppm").read_bytes()


@pytest.mark.parametrize("kind, steps", [("timed", 2000), ("overlap", 600)])
def test_page__prints(opened, tmp_path, kind, steps):
    browser = opened(kind, steps)
    pdf = browser.print(tmp_path / "plan.pdf")
    printed = run_tool("pdftotext", "-layout", pdf, "-")
    headings = ["Timeline", "Memory over launches", "Capacity used per launch", "Launches", "Budget and latency", "All figures",
                "Reads: what is kept"] + (["Weights: preloaded or streamed"] if kind == "overlap" else [])
    for heading in headings:
        assert heading in printed
    for label in ["disk", "kernels", "stalls", "budget", "objective kind", "block.0/mlp/in", "in the order shown on the screen"]:
        assert label in printed
    assert "search a step" not in printed  # controls stay on the screen
    assert len(run_tool("pdfimages", "-list", pdf).splitlines()) == 2  # charts are vectors: a heading, no image
    assert 4 <= int(re.search(r"Pages:\s+(\d+)", run_tool("pdfinfo", pdf))[1]) <= 30
    image = first_page(pdf, "light")
    assert sorted(image)[len(image) // 2] == 255  # on white
    browser.settle()
    assert browser.run("document.querySelectorAll('.paper').length") == 0
    browser.run("document.documentElement.dataset.theme = 'dark'; onColours()")
    assert first_page(browser.print(tmp_path / "plan.pdf"), "dark") == image  # whatever the screen's colours


# --- of real plans ---------------------------------------------------------------------------------------------------


def test_html__shows_what_json_says(flashmem, browser, wide_pack, tmp_path):
    page = tmp_path / "plan.html"
    report = flashmem.report("plan", wide_pack, *FIXED, "--budget", "8MiB", "--html", page, "--curve", folder=tmp_path)
    browser.open(page)
    browser.settle()
    assert browser.complaints() == []
    assert browser.run("document.title") == "FlashMem plan: wide.flm"
    figures = browser.run("FIGURES")
    assert figures == {k: pytest.approx(v, rel=1e-8) if isinstance(v, float) else v for k, v in report["plan"].items()}
    assert browser.run("MEMORY") == report["memory"]
    assert browser.run("PLAN.curve") == [pytest.approx(row, rel=1e-8) for row in report["curve"]]
    assert shown(browser) == [0, report["plan"]["steps"] - 1]
    rows = browser.run("[...document.querySelectorAll('#curve-table tbody tr')].map(r => r.cells[0].textContent)")
    assert len(rows) == len(report["curve"]) > 3
    live = browser.run("[Math.max(...liveBytes), STEPS.weight_bytes.length]")
    assert live == [report["memory"]["live_bound_bytes"] - report["memory"]["image_bytes"], report["plan"]["steps"]]


def test_html__of_an_overlap_plan(flashmem, browser, tmp_path):
    page = tmp_path / "plan.html"
    report = flashmem.report("plan", support.zoo("gptn-s"), "--instance", "u:A", "--html", page, folder=tmp_path)
    browser.open(page)
    browser.settle()
    assert browser.complaints() == []
    assert browser.run("[OVERLAPS, LAUNCHES]") == [report["plan"]["weights"], report["plan"]["steps"]]
    assert browser.run(f"{PIXELS}('memory')")["disk"] > 0
    reasons = browser.run("[...Array(OVERLAPS).keys()].map(w => [Boolean(WEIGHTS.preload[w]), nameOf(WEIGHTS.why[w])])")
    assert all(why.startswith("preloaded") == preloaded for preloaded, why in reasons)
    assert report["plan"]["status"] == "OPTIMAL" and not any("solver's choice" in why for _, why in reasons)
    assert browser.run("Math.max(...liveBytes)") == report["plan"]["peak_bytes"]


def test_html__the_same_twice(flashmem, wide_pack, tmp_path):
    pages = []
    for name in ("a.html", "b.html"):
        flashmem.ok("plan", wide_pack, *FIXED, "--budget", "8MiB", "--html", tmp_path / name)
        pages.append(re.sub(rb'"seconds":[\d.e-]+', b"", (tmp_path / name).read_bytes(), count=1))
    assert pages[0] == pages[1]


def test_html__is_written_whole_or_not_at_all(flashmem, wide_pack, tmp_path):
    flashmem.fails("plan", wide_pack, *FIXED, "--html", tmp_path / "none" / "p.html", says="No such file or directory")
    flashmem.fails("plan", wide_pack, *FIXED, "--html", tmp_path, says="is a folder, only a regular file can be replaced")
    flashmem.fails("plan", wide_pack, *FIXED, "--html", "/dev/full", says="only a regular file can be replaced")
    assert not list(tmp_path.iterdir())
