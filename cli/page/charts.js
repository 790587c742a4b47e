// What the charts draw.  A chart is drawn by a pen into a frame: x from LEFT to pen.width - RIGHT; `view` is the part of the
// run that is shown, in ms.
const LEFT = 104, RIGHT = 14;
const view = { from: 0, to: SPAN };
let selection = null; // { kind: "launch" | "object" | "weight", index }

const plotWidth = (pen) => Math.max(pen.width - LEFT - RIGHT, 1);
function axisOf(pen, from, to) {
  const width = plotWidth(pen), span = to - from;
  return { from, to, x: (value) => LEFT + ((value - from) / span) * width, at: (x) => from + ((x - LEFT) / width) * span };
}
const timeAxis = (pen) => axisOf(pen, view.from, view.to);
function launchAxis(pen) {
  const from = launchOfTime(view.from), to = launchOfTime(view.to);
  return to - from > 1e-6 ? axisOf(pen, from, to) : axisOf(pen, Math.max(from - 0.5, 0), Math.max(from - 0.5, 0) + 1);
}

/** Steps of 1, 2 or 5 of a power of ten, at most `most` in from..to; no finer than `least`. */
function ticks(from, to, most, least = 0) {
  const rough = Math.max((to - from) / most, 1e-12), power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max([1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power, least), values = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9 && values.length < 100; i++) values.push(i * step);
  return values;
}
function showTickMs(ms, step) {
  if (step >= 1000) return `${brief(ms / 1000)} s`;
  if (step >= 0.01) return `${+ms.toFixed(2)} ms`;
  return `${+(ms * 1000).toFixed(3)} \u00b5s`;
}

function drawTimeAxis(pen, axis, top, bottom) {
  const values = ticks(axis.from, axis.to, plotWidth(pen) / 90), step = values.length > 1 ? values[1] - values[0] : 1;
  for (const value of values) {
    const x = axis.x(value), shown = TIMED ? showTickMs(value, step) : String(Math.round(value));
    pen.line([x, top, x, bottom], "grid");
    pen.text(Math.min(x, pen.width - textWidth(shown, 11) / 2 - 1), top - 6, shown, { align: "center" });
  }
}
function drawLaunchAxis(pen, axis, top, bottom) {
  for (const value of ticks(axis.from, axis.to, plotWidth(pen) / 70, 1)) {
    const x = axis.x(value);
    pen.line([x, bottom, x, bottom + 4], "line");
    pen.text(Math.min(x, pen.width - textWidth(String(value), 11) / 2 - 1), bottom + 15, String(value), { align: "center" });
  }
  pen.text(LEFT - 24, bottom + 15, "launch", { align: "right" });
  pen.line([LEFT, bottom, pen.width - RIGHT, bottom], "line");
}
function drawByteAxis(pen, top, bottom, most) {
  const y = (bytes) => bottom - (bytes / most) * (bottom - top);
  for (const value of ticks(0, most, 5)) {
    pen.line([LEFT, y(value), pen.width - RIGHT, y(value)], "grid");
    pen.text(LEFT - 8, y(value) + 4, showBytes(value), { align: "right" });
  }
  return y;
}

// --- timeline --------------------------------------------------------------------------------------------------------

const LANES = { disk: { y: 30, h: 32 }, convert: { y: 70, h: 26 }, kernels: { y: 104, h: 34 }, waits: { y: 146, h: 24 } };
const TIMELINE_HEIGHT = 178;
const converted = [...OBJECTS.convert_end.keys()].filter((o) => OBJECTS.convert_end[o] > OBJECTS.convert_start[o])
  .sort((a, b) => OBJECTS.convert_start[a] - OBJECTS.convert_start[b]);
const waitBegin = (k) => startOf(k) - STEPS.stall[k];
const readColour = (o) => (OBJECTS.resident[o] || OBJECTS.preload[o] ? "kept" : "disk");
const INK_ON = { reusable: "kernel-ink", kept: "kept-ink" }; // others carry dark text in both schemes

/** Blocks in order of time.  A block has its true width, so that what is thinner than a pixel fades into its neighbours;
 *  alone it stays visible.  label null: none. */
function drawBlocks(pen, axis, lane, count, from, to, paint, label, hatched = false) {
  let painted = -Infinity;
  for (let i = firstWhere(count, (n) => to(n) > axis.from); i < count && from(i) < axis.to; i++) {
    if (!(to(i) > from(i))) continue;
    const x0 = Math.max(axis.x(from(i)), LEFT - 2), x1 = Math.min(axis.x(to(i)), pen.width - RIGHT + 2), name = paint(i);
    const width = Math.max(x1 - x0 - (x1 - x0 > 3 ? 1 : 0), x0 - painted > 1 ? 0.8 : 0);
    if (hatched) pen.hatched(x0, lane.y, width, lane.h, name);
    else pen.rect(x0, lane.y, width, lane.h, name);
    painted = x0 + width;
    const text = width > 34 && label ? fitText(label(i), width - 8, 11) : "";
    if (text) pen.text(x0 + 4, lane.y + lane.h / 2 + 4, text, { name: INK_ON[name] ?? "block-ink" });
  }
}

/** Without conversions of their own, loads beside launches: how much of each launch's capacity they take. */
function drawLoads(pen, axis, lane) {
  for (let k = firstWhere(LAUNCHES, (n) => endOf(n) > axis.from); k < LAUNCHES && startOf(k) < axis.to; k++) {
    if (!STEPS.load_bytes[k]) continue;
    const x0 = Math.max(axis.x(startOf(k)), LEFT), x1 = Math.min(axis.x(endOf(k)), pen.width - RIGHT);
    const h = lane.h * Math.min(1, STEPS.load_bytes[k] / Math.max(STEPS.capacity_bytes[k], 1));
    pen.rect(x0, lane.y + lane.h - h, Math.max(x1 - x0, 0.8), h, "convert");
  }
}

function drawSelectionInTime(pen, axis) {
  const span = selectedLaunches();
  if (!span) return;
  const x0 = axis.x(startOf(span.first)), x1 = Math.max(axis.x(endOf(span.last)), x0 + 1.5), { kernels, disk } = LANES;
  pen.frame(x0 - 1, kernels.y - 2, x1 - x0 + 2, kernels.h + 4, "select", 2);
  if (selection.kind !== "object") return;
  const r0 = axis.x(readBegin[selection.index]), r1 = Math.max(axis.x(OBJECTS.arrival[selection.index]), r0 + 1.5);
  pen.frame(r0 - 1, disk.y - 2, r1 - r0 + 2, disk.h + 4, "select", 2);
  pen.line([r1, disk.y + disk.h + 2, r1, disk.y + disk.h + 5, x0, kernels.y - 5, x0, kernels.y - 2], "select", { width: 1.5 });
}

function drawTimeline(pen) {
  const axis = timeAxis(pen), bottom = TIMELINE_HEIGHT - 4;
  drawTimeAxis(pen, axis, 24, bottom);
  const nothing = READS ? (TIMED ? "" : "no times") : "this plan says when chunks are loaded, not when they are read";
  const names = { disk: "disk", convert: converted.length || !HAS_CAPACITY ? "conversion" : "loads", kernels: "kernels", waits: "stalls" };
  for (const [id, lane] of Object.entries(LANES))
    pen.text(LEFT - 8, lane.y + lane.h / 2 + 4, names[id], { align: "right", name: "ink", size: 12 });
  if (nothing) pen.text(LEFT + 4, LANES.disk.y + 20, nothing);
  if (!converted.length && !HAS_CAPACITY) pen.text(LEFT + 4, LANES.convert.y + 17, "nothing is converted: weights are used where they were read");
  pen.inside(LEFT, 0, plotWidth(pen), TIMELINE_HEIGHT, () => {
    drawBlocks(pen, axis, LANES.disk, READS, (o) => readBegin[o], (o) => OBJECTS.arrival[o], readColour,
      (o) => nameOf(OBJECTS.name[o]));
    if (converted.length)
      drawBlocks(pen, axis, LANES.convert, converted.length, (i) => OBJECTS.convert_start[converted[i]],
        (i) => OBJECTS.convert_end[converted[i]], () => "convert", (i) => nameOf(OBJECTS.name[converted[i]]));
    else drawLoads(pen, axis, LANES.convert);
    if (LAUNCHES && waitBegin(0) > 0)
      drawBlocks(pen, axis, LANES.kernels, 1, () => 0, () => waitBegin(0), () => "room", () => "start-up");
    drawBlocks(pen, axis, LANES.kernels, LAUNCHES, startOf, endOf, capacityClass, launchName);
    drawBlocks(pen, axis, LANES.waits, LAUNCHES, waitBegin, startOf, () => "wait", null, true);
    drawSelectionInTime(pen, axis);
  });
}

/** Launches that the selection concerns: { first, last }. */
function selectedLaunches() {
  if (!selection) return null;
  const { kind, index } = selection;
  if (kind === "launch") return { first: index, last: index };
  const of = kind === "object" ? OBJECTS : WEIGHTS;
  return of.first[index] < LAUNCHES ? { first: of.first[index], last: Math.min(of.last[index], LAUNCHES - 1) } : null;
}

function hitTimeline(x, y, pen) {
  if (x < LEFT || x > pen.width - RIGHT) return null;
  const t = timeAxis(pen).at(x);
  const inLane = (lane) => y >= lane.y - 4 && y <= lane.y + lane.h + 4;
  if (inLane(LANES.disk)) {
    const o = firstWhere(READS, (n) => OBJECTS.arrival[n] > t);
    return o < READS && readBegin[o] <= t ? { kind: "object", index: o } : null;
  }
  if (inLane(LANES.convert) && converted.length) {
    const i = firstWhere(converted.length, (n) => OBJECTS.convert_end[converted[n]] > t);
    return i < converted.length && OBJECTS.convert_start[converted[i]] <= t ? { kind: "object", index: converted[i] } : null;
  }
  const k = firstWhere(LAUNCHES, (n) => endOf(n) > t);
  return k < LAUNCHES && y >= LANES.convert.y && y <= TIMELINE_HEIGHT ? { kind: "launch", index: k } : null;
}

// --- memory and capacity over launches -------------------------------------------------------------------------------

/** Launches to draw, each with its x range: all that are seen, or of those in one pixel the one with the most. */
function columns(pen, axis, weigh) {
  const first = Math.max(Math.floor(axis.from), 0), last = Math.min(Math.ceil(axis.to), LAUNCHES), out = [];
  const each = Math.max(1, (axis.to - axis.from) / plotWidth(pen));
  for (let at = first; at < last; at += each) {
    const from = Math.floor(at), to = Math.min(Math.max(Math.floor(at + each), from + 1), last);
    let best = from;
    for (let k = from + 1; k < to; k++) if (weigh(k) > weigh(best)) best = k;
    out.push({ k: best, x0: axis.x(from), x1: axis.x(to) });
  }
  return out;
}

const MEMORY_HEIGHT = 250, CAPACITY_HEIGHT = 170;
const LIMITS = [
  { bytes: MEMORY.budget_bytes, label: "budget", dash: [], align: "left" },
  { bytes: MEMORY.planned_peak_bytes, label: PLACED ? "reserved" : "peak", dash: [7, 4], align: "right" },
  { bytes: MEMORY.minimum_budget_bytes, label: "minimum budget", dash: [2, 3], align: "center" },
].filter((limit, i, all) => limit.bytes > 0 && (i !== 1 || limit.bytes !== all[0].bytes));
const liveMost = largest(Array.from(liveBytes), 0);
const MEMORY_TOP = Math.max(liveMost, ...LIMITS.map((l) => (l.bytes < 2 * Math.max(liveMost, MEMORY.planned_peak_bytes) ? l.bytes : 0)), 1) * 1.08;

function drawMemory(pen) {
  const axis = launchAxis(pen), top = 8, bottom = MEMORY_HEIGHT - 24;
  const y = drawByteAxis(pen, top, bottom, MEMORY_TOP);
  const shown = columns(pen, axis, (k) => liveBytes[k]), below = new Float64Array(shown.length);
  pen.inside(LEFT, 0, plotWidth(pen), MEMORY_HEIGHT, () => {
    for (const kind of MEMORY_KINDS) {
      const upper = [], lower = [];
      shown.forEach((column, i) => {
        const from = below[i], to = (below[i] += kind.at(column.k));
        upper.push(column.x0, y(to), column.x1, y(to));
        lower.unshift(column.x1, y(from), column.x0, y(from));
      });
      if (shown.length) pen.area(upper.concat(lower), kind.id);
    }
    drawSelectionOverLaunches(pen, axis, top, bottom);
  });
  for (const limit of LIMITS) drawLimit(pen, y, limit);
  drawLaunchAxis(pen, axis, top, bottom);
}
function drawLimit(pen, y, { bytes, label, dash, align }) {
  const text = `${label} ${showBytes(bytes)}`, out = bytes > MEMORY_TOP, at = out ? 10 : y(bytes);
  const x = align === "left" ? LEFT + 6 : align === "right" ? pen.width - RIGHT - 6 : (LEFT + pen.width - RIGHT) / 2;
  if (!out) pen.line([LEFT, at, pen.width - RIGHT, at], "limit", { dash, width: 1.5 });
  const shown = out ? `${text}, above this chart` : text, width = textWidth(shown, 11) + 6, baseline = at < 20 ? at + 13 : at - 4;
  pen.rect(align === "left" ? x - 3 : align === "right" ? x - width + 3 : x - width / 2, baseline - 10, width, 13, "surface");
  pen.text(x, baseline, shown, { name: "ink", align });
}
function drawSelectionOverLaunches(pen, axis, top, bottom) {
  const span = selectedLaunches();
  if (!span) return;
  const x0 = axis.x(span.first), x1 = axis.x(span.last + 1);
  pen.frame(x0, top, Math.max(x1 - x0, 1.5), bottom - top, "select", 1.5);
}

const ROOM_TOP = Math.max(largest(Array.from(room.can), 0), largest(Array.from(room.does), 0), 1) * 1.05;

function drawCapacity(pen) {
  const axis = launchAxis(pen), top = 8, bottom = CAPACITY_HEIGHT - 24;
  const y = drawByteAxis(pen, top, bottom, ROOM_TOP);
  pen.inside(LEFT, 0, plotWidth(pen), CAPACITY_HEIGHT, () => {
    for (const column of columns(pen, axis, (k) => room.can[k])) drawBar(column, room.can[column.k], "room");
    for (const column of columns(pen, axis, (k) => room.does[k])) drawBar(column, room.does[column.k], "disk");
    drawSelectionOverLaunches(pen, axis, top, bottom);
  });
  drawLaunchAxis(pen, axis, top, bottom);
  function drawBar({ x0, x1 }, bytes, name) {
    const gap = x1 - x0 > 4 ? 1 : 0;
    if (bytes > 0) pen.rect(x0, y(bytes), x1 - x0 - gap, bottom - y(bytes), name);
  }
}

function hitLaunches(x, y, pen) {
  if (x < LEFT || x > pen.width - RIGHT) return null;
  const k = Math.floor(launchAxis(pen).at(x));
  return k >= 0 && k < LAUNCHES ? { kind: "launch", index: k } : null;
}

// --- the budget/latency curve ----------------------------------------------------------------------------------------

const CURVE_HEIGHT = 240;

/** Lines over the budget, whose axis grows by ratios; series: { label, colour, at(row), dash }. */
function drawCurve(pen, rows, series, show) {
  const top = 14, bottom = CURVE_HEIGHT - 40, lows = Math.log(rows[0].budget_bytes), highs = Math.log(rows.at(-1).budget_bytes);
  const x = (bytes) => (highs > lows ? LEFT + 10 + ((Math.log(bytes) - lows) / (highs - lows)) * (plotWidth(pen) - 20) : pen.width / 2);
  const most = Math.max(...series.flatMap((s) => rows.map(s.at)), 1e-9) * 1.08;
  const y = (value) => bottom - (value / most) * (bottom - top);
  for (const value of ticks(0, most, 5)) {
    pen.line([LEFT, y(value), pen.width - RIGHT, y(value)], "grid");
    pen.text(LEFT - 8, y(value) + 4, show(value), { align: "right" });
  }
  let free = -Infinity;
  for (const row of rows) {
    const text = showBytes(row.budget_bytes), half = textWidth(text, 11) / 2 + 4;
    pen.line([x(row.budget_bytes), bottom, x(row.budget_bytes), bottom + 4], "line");
    if (x(row.budget_bytes) - half < free) continue;
    pen.text(x(row.budget_bytes), bottom + 16, text, { align: "center" });
    free = x(row.budget_bytes) + half;
  }
  pen.text((LEFT + pen.width - RIGHT) / 2, bottom + 33, "budget", { align: "center" });
  pen.line([LEFT, bottom, pen.width - RIGHT, bottom], "line");
  for (const { at, colour: name, dash = [] } of series) {
    pen.line(rows.flatMap((row) => [x(row.budget_bytes), y(at(row))]), name, { dash, width: 2 });
    for (const row of rows) pen.dot(x(row.budget_bytes), y(at(row)), 3.5, name);
  }
}
const CURVES = {
  "curve-latency": {
    label: "latency over budget", show: showMs,
    series: [{ label: "latency", colour: "reusable", at: (row) => row.latency_ms },
      { label: "of it, waiting for weights", colour: "wait", at: (row) => row.stall_ms, dash: [6, 3] }],
  },
  "curve-memory": {
    label: "memory over budget", show: showBytes,
    series: [{ label: "reserved", colour: "limit", at: (row) => row.peak_bytes, dash: [7, 4] },
      { label: "average over the run", colour: "activations", at: (row) => row.average_bytes },
      { label: "kept for later runs", colour: "kept", at: (row) => row.resident_bytes, dash: [2, 3] }],
  },
};
