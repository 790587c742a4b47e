// The plan as the page uses it: columns of launches, objects, weights; times in ms; the map between time and launches.
const PLAN = JSON.parse(document.getElementById("plan").textContent);
const FIGURES = PLAN.plan, MEMORY = PLAN.memory, STEPS = PLAN.steps, OBJECTS = PLAN.objects, WEIGHTS = PLAN.weights;
const LAUNCHES = STEPS.name.length, READS = OBJECTS.name.length, OVERLAPS = WEIGHTS.name.length;
const TIMED = STEPS.end.some((end) => end > 0);
const NONE = 4294967295;

const nameOf = (index) => PLAN.texts[index];
const launchName = (k) => (k >= 0 && k < LAUNCHES ? nameOf(STEPS.name[k]) : "");
const className = (k) => PLAN.cost_classes[STEPS.cost_class[k]] ?? "unknown";
const CAPACITY_CLASSES = ["elementwise", "reusable", "hierarchical"]; // flashmem_capacity_class
const capacityClass = (k) => CAPACITY_CLASSES[STEPS.capacity_class[k]] ?? "elementwise";

// edges[k]: when launch k-1 has ended; without times, launches are one long each.
const edges = new Float64Array(LAUNCHES + 1);
for (let k = 0; k < LAUNCHES; k++) edges[k + 1] = TIMED ? Math.max(edges[k], STEPS.end[k]) : k + 1;
const startOf = (k) => (TIMED ? STEPS.start[k] : k);
const endOf = (k) => (TIMED ? STEPS.end[k] : k + 1);

// When the disk works on an object: reads are one after the other.
const readBegin = new Float64Array(READS);
for (let o = 0, free = 0; o < READS; o++) {
  readBegin[o] = Math.min(Math.max(free, OBJECTS.request[o]), OBJECTS.arrival[o]);
  free = Math.max(free, OBJECTS.arrival[o]);
}
const largest = (column, least) => column.reduce((a, b) => Math.max(a, b), least);
const SPAN = Math.max(largest(OBJECTS.arrival, edges[LAUNCHES]), 1e-6);

/** First index in 0..count for which past(index) holds; past never falls. */
function firstWhere(count, past) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (past(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
/** Position on the axis of launches (3.5: half of launch 3 and its wait is over) of a time, and back. */
function launchOfTime(t) {
  const k = firstWhere(LAUNCHES, (i) => edges[i + 1] > t);
  if (k >= LAUNCHES) return LAUNCHES;
  const length = edges[k + 1] - edges[k];
  return k + (length > 0 ? Math.max(0, t - edges[k]) / length : 0);
}
function timeOfLaunch(u) {
  const k = Math.min(Math.max(Math.floor(u), 0), LAUNCHES);
  return k >= LAUNCHES ? edges[LAUNCHES] : edges[k] + (u - k) * (edges[k + 1] - edges[k]);
}

// Memory by kind, bottom first; staging is a constant of the plan.
const PLACED = STEPS.name.some((_, k) => STEPS.weight_bytes[k] + STEPS.resident_bytes[k] + STEPS.activation_bytes[k] > 0);
const MEMORY_KINDS = (PLACED ? [
  { id: "staging", label: "staging", at: () => MEMORY.staging_bytes },
  { id: "images", label: "images", at: (k) => STEPS.image_bytes[k] },
  { id: "kept", label: "weights kept", at: (k) => STEPS.resident_bytes[k] },
  { id: "disk", label: "weights streamed", at: (k) => STEPS.weight_bytes[k] },
  { id: "activations", label: "activations", at: (k) => STEPS.activation_bytes[k] },
] : overlapKinds()).filter((kind) => STEPS.name.some((_, k) => kind.at(k) > 0));
/** An instance places nothing: preloaded weights, and chunks from their load to the first launch that uses them. */
function overlapKinds() {
  const flight = new Float64Array(LAUNCHES + 2);
  for (let w = 0; w < OVERLAPS; w++)
    for (const [step, chunks] of WEIGHTS.load[w]) {
      flight[step] += chunks * FIGURES.chunk_bytes;
      flight[WEIGHTS.first[w] + 1] -= chunks * FIGURES.chunk_bytes;
    }
  for (let k = 1; k < LAUNCHES; k++) flight[k] += flight[k - 1];
  return [{ id: "kept", label: "weights preloaded", at: () => FIGURES.preload_bytes },
    { id: "disk", label: "chunks in flight", at: (k) => flight[k] }];
}
const liveBytes = new Float64Array(LAUNCHES);
for (let k = 0; k < LAUNCHES; k++) for (const kind of MEMORY_KINDS) liveBytes[k] += kind.at(k);

// What may be loaded beside a launch and what is: the plan's capacities, else what the disk can and does read meanwhile.
const HAS_CAPACITY = STEPS.capacity_bytes.some((bytes) => bytes > 0) || STEPS.load_bytes.some((bytes) => bytes > 0);
const room = { can: STEPS.capacity_bytes, does: STEPS.load_bytes };
if (!HAS_CAPACITY) Object.assign(room, readWhile());
function readWhile() {
  const rate = FIGURES.disk_ms > 0 ? FIGURES.read_bytes / FIGURES.disk_ms : 0;
  const can = [], does = new Array(LAUNCHES).fill(0);
  for (let k = 0; k < LAUNCHES; k++) can.push(TIMED ? rate * (edges[k + 1] - edges[k]) : 0);
  for (let o = 0; o < READS; o++) {
    const length = OBJECTS.arrival[o] - readBegin[o];
    for (let k = firstWhere(LAUNCHES, (i) => edges[i + 1] > readBegin[o]); length > 0 && k < LAUNCHES; k++) {
      if (edges[k] >= OBJECTS.arrival[o]) break;
      const shared = Math.min(edges[k + 1], OBJECTS.arrival[o]) - Math.max(edges[k], readBegin[o]);
      does[k] += (OBJECTS.bytes[o] * shared) / length;
    }
  }
  return { can, does };
}

// --- as text ---------------------------------------------------------------------------------------------------------

function showMs(ms) {
  if (ms === null || !Number.isFinite(ms)) return "-";
  const size = Math.abs(ms);
  if (size >= 10000) return (ms / 1000).toFixed(2) + " s";
  if (size >= 0.1 || size === 0) return ms.toFixed(2) + " ms";
  return (ms * 1000).toFixed(size < 0.01 ? 2 : 1) + " \u00b5s";
}
function showBytes(bytes) {
  if (bytes === null || !Number.isFinite(bytes)) return "-";
  const size = Math.abs(bytes);
  if (size >= 1e9) return (bytes / 1e9).toFixed(2) + " GB";
  if (size >= 1e6) return (bytes / 1e6).toFixed(2) + " MB";
  if (size >= 1e3) return (bytes / 1e3).toFixed(1) + " kB";
  return Math.round(bytes) + " B";
}
const showCount = (n) => Math.round(n).toLocaleString("en");
const showShare = (part, whole) => (whole > 0 ? ((100 * part) / whole).toFixed(1) + " %" : "-");
const plural = (n, word) => `${showCount(n)} ${word}${n === 1 ? "" : word.endsWith("ch") ? "es" : "s"}`;

/** An element with a class and children; text goes in as text. */
function element(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}
