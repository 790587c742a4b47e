// The page: figures, legends, search, colours, printing; then everything is drawn once.
const byId = (id) => document.getElementById(id);

function tile(label, value, more = "") {
  const parts = [element("dt", { text: label }), element("dd", { text: value })];
  if (more) parts.push(element("dd", { class: "more", text: more }));
  byId("tiles").append(element("div", {}, ...parts));
}
function showTiles() {
  const f = FIGURES, m = MEMORY;
  const proof = f.gap > 1e-9 ? `gap ${(100 * f.gap).toPrecision(2)} %, ${f.solver}` : f.solver;
  if (TIMED) tile("predicted latency", showMs(f.predicted_latency_ms), READS
    ? `first run, ${showMs(f.predicted_stall_ms)} of it waiting for weights` : "kernel times alone, loads beside them");
  const limit = Math.max(f.disk_ms, f.compute_ms);
  if (limit > 0 && READS) tile("limit", showMs(limit), `disk ${showMs(f.disk_ms)}, compute ${showMs(f.compute_ms)}, start-up not counted`);
  if (f.objective_kind !== "timed") tile("objective", f.objective === null ? "-" : String(+f.objective.toPrecision(6)), `bound ${+(f.bound ?? 0).toPrecision(6)}`);
  tile("status", f.status || "-", proof);
  if (m.budget_bytes > 0) tile("budget", showBytes(m.budget_bytes), `at least ${showBytes(m.minimum_budget_bytes)}`);
  if (PLACED) tile("reserved", showBytes(m.planned_peak_bytes), `${showShare(m.planned_peak_bytes, m.budget_bytes)} of the budget`);
  else tile("peak", showBytes(m.planned_peak_bytes), OVERLAPS ? "preloaded and in flight" : "");
  if (f.average_bytes > 0) tile("average memory", showBytes(f.average_bytes), "over the first run");
  if (READS) tile("kept for later runs", showBytes(m.resident_bytes), `of ${showBytes(f.read_bytes)} read`);
  if (OVERLAPS) tile("preloaded", showBytes(f.preload_bytes), `in flight at most ${f.peak_chunks} of ${plural(f.m_peak_chunks, "chunk")}`);
}
function showTitle() {
  const file = (PLAN.model).split("/").at(-1);
  document.title = file ? `FlashMem plan: ${file}` : "FlashMem plan";
  byId("title").textContent = document.title;
  const where = READS ? PLAN.device : FIGURES.capacities; // an instance is of no device
  const parts = [where, `objective ${FIGURES.objective_kind}`, `${FIGURES.status} by ${FIGURES.solver}`,
    plural(LAUNCHES, "launch"), READS ? plural(READS, "read") : "", OVERLAPS ? plural(OVERLAPS, "weight") : ""];
  byId("subtitle").textContent = parts.filter(Boolean).join(" \u00b7 ");
}

function legend(id, entries) {
  for (const { label, colour: name, hatched } of entries) {
    const swatch = element("i", { class: hatched ? "hatched" : "" });
    swatch.style.backgroundColor = `var(--${name})`;
    byId(id).append(element("span", {}, swatch, label));
  }
}
function showLegends() {
  const reads = OBJECTS.resident.some(Boolean) || OBJECTS.preload.some(Boolean);
  const kept = OBJECTS.resident.some(Boolean) ? "read, kept" : "read, preloaded";
  legend("timeline-legend", [
    ...(READS ? [{ label: "read, streamed", colour: "disk" }] : []), ...(reads ? [{ label: kept, colour: "kept" }] : []),
    ...(converted.length || HAS_CAPACITY ? [{ label: converted.length ? "converted" : "loaded, share of the capacity", colour: "convert" }] : []),
    ...CAPACITY_CLASSES.map((name) => ({ label: `kernel, ${name}`, colour: name })).reverse(),
    ...(FIGURES.predicted_stall_ms > 0 ? [{ label: "waiting for weights", colour: "wait", hatched: true }] : []),
  ]);
  legend("memory-legend", MEMORY_KINDS.toReversed().map((kind) => ({ label: kind.label, colour: kind.id })));
  legend("capacity-legend", [{ label: HAS_CAPACITY ? "loaded" : "read", colour: "disk" }, { label: "possible", colour: "room" }]);
  if (PLAN.curve) legend("curve-legend", Object.values(CURVES).flatMap((curve) => curve.series));
}
function showNotes() {
  const used = room.does.reduce((a, b) => a + b, 0), can = room.can.reduce((a, b) => a + b, 0);
  const share = `${showBytes(used)} of ${showBytes(can)} in all, ${showShare(used, can)}.`;
  byId("memory-note").textContent = !PLACED && OVERLAPS
    ? "Preloaded weights, and chunks from the launch beside which they are loaded to the first one that uses them." : "What is set aside while each launch runs: a weight from when its read may begin to its last use" + (MEMORY.live_bound_bytes > 0
      ? `; at most ${showBytes(MEMORY.live_bound_bytes)}; what is reserved also has the gaps of its placement.` : ".");
  byId("capacity-note").textContent = HAS_CAPACITY
    ? `What may be loaded beside a launch (${FIGURES.capacities}) and what is: ${share}`
    : `This plan has no load capacities: shown is what the disk can read from the end of one launch to the end of the next, and what it does: ${share}`;
  const kept = countOf(OBJECTS.resident), preloaded = countOf(OBJECTS.preload);
  byId("objects-note").textContent = (kept === READS ? "All objects are kept: they fit. "
    : kept ? `${plural(kept, "object")} of ${showCount(READS)}, ${showBytes(MEMORY.resident_bytes)}, are kept between runs: the first of a run, or evenly along it, whichever makes later runs shorter. `
      : "No object is kept between runs. ") + (preloaded ? `${plural(preloaded, "object")} are read before the first launch. ` : "") + "Objects are listed in the order of their reads.";
  if (OVERLAPS) byId("weights-note").textContent = `${showCount(countOf(WEIGHTS.preload))} of ${showCount(OVERLAPS)} weights are preloaded, ${showBytes(FIGURES.preload_bytes)}. `
    + `Preloading costs ${FIGURES.lambda} for each MiB, a start ahead of the first use ${+(1 - FIGURES.lambda).toFixed(4)} for each launch; chunks of ${showBytes(FIGURES.chunk_bytes)}.`;
}
const countOf = (column) => column.reduce((n, yes) => n + (yes ? 1 : 0), 0);

function showFigures() {
  const facts = [];
  for (const group of [FIGURES, MEMORY])
    for (const [key, value] of Object.entries(group)) {
      const shown = typeof value === "number" && key.endsWith("_bytes") ? `${showCount(value)} (${showBytes(value)})` : value === null ? "-" : String(value);
      facts.push([key.replaceAll("_", " "), shown]);
    }
  fillFacts(byId("figures"), facts);
}
function showCurve() {
  if (!PLAN.curve) return;
  const head = element("tr"), body = element("tbody");
  for (const title of ["budget", "reserved", "average", "kept", "latency", "waits"]) head.append(element("th", { class: "number", text: title }));
  for (const row of PLAN.curve) {
    const cells = [showBytes(row.budget_bytes), showBytes(row.peak_bytes), showBytes(row.average_bytes), showBytes(row.resident_bytes), showMs(row.latency_ms), showMs(row.stall_ms)];
    body.append(element("tr", {}, ...cells.map((cell) => element("td", { class: "number", text: cell }))));
  }
  byId("curve-table").append(element("table", {}, element("thead", {}, head), body));
}

// --- search ----------------------------------------------------------------------------------------------------------

const MOST_FOUND = 100;
const searchBox = byId("search"), found = byId("found");
let hits = [], active = -1, catalogue = null;

/** Everything that has a name: launches, then weights or the objects they are read in. */
function makeCatalogue() {
  const of = (kind, count) => Array.from({ length: count }, (_, i) => ({ kind, index: i, name: NAMES[kind](i).toLowerCase() }));
  return [...of("launch", LAUNCHES), ...of("weight", OVERLAPS), ...of("object", READS)];
}
/** Names that contain the text, whole names and beginnings first; a number is an index too. */
function find(query) {
  const wanted = query.trim().toLowerCase();
  catalogue ??= makeCatalogue();
  if (!wanted) return [];
  const rank = (item) => (item.name === wanted || String(item.index) === wanted ? 0 : item.name.startsWith(wanted) ? 1 : 2);
  return catalogue.filter((item) => item.name.includes(wanted) || String(item.index) === wanted).sort((a, b) => rank(a) - rank(b));
}
function showFound() {
  hits = find(searchBox.value);
  active = -1;
  const rows = hits.slice(0, MOST_FOUND).map((hit, i) => {
    const row = element("li", { role: "option", id: `found-${i}`, "aria-selected": "false" },
      element("span", { class: "kind", text: `${hit.kind} ${hit.index}` }), titleOf(hit));
    row.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      choose(i);
    });
    return row;
  });
  if (hits.length > MOST_FOUND) rows.push(element("li", { text: `${showCount(hits.length - MOST_FOUND)} more: type more of the name` }));
  if (!hits.length && searchBox.value.trim()) rows.push(element("li", { text: "nothing has this in its name" }));
  found.replaceChildren(...rows);
  openFound(rows.length > 0);
}
function openFound(open) {
  found.hidden = !open;
  searchBox.setAttribute("aria-expanded", String(open));
}
function mark(next) {
  const count = Math.min(hits.length, MOST_FOUND);
  if (!count) return;
  found.children[active]?.setAttribute("aria-selected", "false");
  active = (next + count) % count;
  found.children[active].setAttribute("aria-selected", "true");
  found.children[active].scrollIntoView({ block: "nearest" });
  searchBox.setAttribute("aria-activedescendant", `found-${active}`);
}
function choose(i) {
  if (i < hits.length) select({ kind: hits[i].kind, index: hits[i].index });
  if (i < found.children.length) mark(i);
}
function onSearchKey(event) {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (found.hidden) showFound();
    mark(active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1));
  } else if (event.key === "Enter") {
    if (found.hidden) showFound();
    if (hits.length) choose(active < 0 ? 0 : active);
    openFound(false);
  } else if (event.key === "Escape") {
    openFound(false);
    return;
  } else return;
  event.preventDefault();
}

// --- colours, paper, start -------------------------------------------------------------------------------------------

function onTheme() {
  const next = { "": "light", light: "dark", dark: "" }[document.documentElement.dataset.theme ?? ""];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  byId("theme").textContent = next ? `${next} colours` : "system colours";
  onColours();
}
function onColours() {
  resolved.clear();
  drawAll();
}

/** For paper: charts as vectors, as zoomed now; tables of the rows shown, up to a limit. */
function addPaper() {
  removePaper();
  for (const chart of charts) chart.root.append(element("div", { class: "paper" }, chart.paper()));
  for (const grid of grids) grid.root.append(grid.paper());
}
function removePaper() {
  for (const node of document.querySelectorAll(".paper")) node.remove();
}

function listen() {
  searchBox.addEventListener("input", showFound);
  searchBox.addEventListener("keydown", onSearchKey);
  searchBox.addEventListener("blur", () => openFound(false));
  searchBox.addEventListener("focus", () => searchBox.value && showFound());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select")) return;
    searchBox.focus();
    searchBox.select();
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => moveView(button.dataset.move));
  byId("theme").addEventListener("click", onTheme);
  byId("print").addEventListener("click", () => window.print());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onColours);
  window.addEventListener("resize", redraw);
  window.addEventListener("beforeprint", addPaper);
  window.addEventListener("afterprint", removePaper);
}

showTitle();
showTiles();
showLegends();
showNotes();
showFigures();
showCurve();
makeGrids();
showDetails();
listen();
drawAll();
requestAnimationFrame(() => requestAnimationFrame(() => performance.mark("plan-drawn"))); // a frame with all of it is out
