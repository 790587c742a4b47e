// Charts on the screen: drawn when something changed, zoomed and moved together, with what is under the pointer.
const SHORTEST = SPAN / 1e6;
const ZOOM = 1.6;
const tip = document.getElementById("tip");

function setView(from, to) {
  const span = Math.min(Math.max(to - from, SHORTEST), SPAN);
  const start = Math.min(Math.max((from + to) / 2 - span / 2, 0), SPAN - span);
  view.from = start;
  view.to = start + span;
  redraw();
}
/** Zooms about a time; factor < 1 shows less. */
function zoomAt(time, factor) {
  setView(time - (time - view.from) * factor, time + (view.to - time) * factor);
}
function moveView(action) {
  const span = view.to - view.from, middle = view.from + span / 2;
  if (action === "in") zoomAt(middle, 1 / ZOOM);
  else if (action === "out") zoomAt(middle, ZOOM);
  else if (action === "left") setView(view.from - span / 4, view.to - span / 4);
  else if (action === "right") setView(view.from + span / 4, view.to + span / 4);
  else setView(0, SPAN);
}
/** Moves and, where it is too small to see, zooms so that from..to lies inside the view. */
function showTimes(from, to) {
  const inside = from >= view.from && to <= view.to, length = to - from, span = view.to - view.from;
  if (inside && length > span / 300) return;
  const wanted = Math.min(Math.max(length * 12, SPAN / 200), Math.max(span, length * 1.2));
  setView((from + to) / 2 - wanted / 2, (from + to) / 2 + wanted / 2);
}

class Chart {
  /** axis(pen): the chart's horizontal axis; timeOf(value on it); hit(x, y, pen): what lies there. */
  constructor(id, { label, draw, axis, timeOf, hit }) {
    this.root = document.getElementById(id);
    this.draw = draw;
    this.axis = axis;
    this.timeOf = timeOf;
    this.hit = hit;
    this.label = label;
    this.canvas = element("canvas", { role: "img", "aria-label": label });
    this.root.append(this.canvas);
    if (axis) this.listen();
  }
  show() {
    const width = this.root.clientWidth;
    if (!width) return;
    this.pen = new CanvasPen(this.canvas, width, this.height());
    this.draw(this.pen);
  }
  height() {
    return { timeline: TIMELINE_HEIGHT, memory: MEMORY_HEIGHT, capacity: CAPACITY_HEIGHT }[this.root.id] ?? CURVE_HEIGHT;
  }
  paper() {
    const pen = new SvgPen(760, this.height(), this.label);
    this.draw(pen);
    return pen.root;
  }
  timeAt(event) {
    return this.timeOf(this.axis(this.pen).at(event.offsetX));
  }
  listen() {
    this.root.classList.add("movable");
    this.canvas.tabIndex = 0;
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    this.canvas.addEventListener("pointermove", (event) => this.onMove(event));
    this.canvas.addEventListener("pointerup", (event) => this.onUp(event));
    this.canvas.addEventListener("pointercancel", () => this.stop());
    this.canvas.addEventListener("pointerleave", () => (tip.hidden = true));
    this.canvas.addEventListener("dblclick", (event) => zoomAt(this.timeAt(event), 1 / (ZOOM * ZOOM)));
    this.canvas.addEventListener("keydown", onChartKey);
  }
  onWheel(event) {
    if (event.ctrlKey || event.metaKey) zoomAt(this.timeAt(event), Math.exp(event.deltaY * 0.003));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.moveBy(event.deltaX || event.deltaY);
    else return;
    event.preventDefault();
  }
  moveBy(pixels) {
    const axis = this.axis(this.pen), shift = axis.at(LEFT + pixels) - axis.from;
    if (this.timeOf === sameTime) setView(view.from + shift, view.to + shift);
    else {
      const most = LAUNCHES - (axis.to - axis.from), from = Math.min(Math.max(axis.from + shift, 0), Math.max(most, 0));
      setView(this.timeOf(from), this.timeOf(from + axis.to - axis.from));
    }
  }
  onDown(event) {
    if (event.button !== 0) return;
    this.drag = { x: event.offsetX, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }
  onMove(event) {
    if (!this.drag) return showTip(this.hit(event.offsetX, event.offsetY, this.pen), event);
    const by = this.drag.x - event.offsetX;
    if (!this.drag.moved && Math.abs(by) < 4) return;
    this.drag = { x: event.offsetX, moved: true };
    this.root.classList.add("moving");
    tip.hidden = true;
    this.moveBy(by);
  }
  onUp(event) {
    const clicked = this.drag && !this.drag.moved;
    this.stop();
    if (clicked) select(this.hit(event.offsetX, event.offsetY, this.pen), { reveal: false });
  }
  stop() {
    this.drag = null;
    this.root.classList.remove("moving");
  }
}
const sameTime = (t) => t;

const charts = [
  new Chart("timeline", { label: "timeline of disk, conversion, kernels and stalls", draw: drawTimeline, axis: timeAxis,
    timeOf: sameTime, hit: hitTimeline }),
  new Chart("memory", { label: "memory over launches by kind", draw: drawMemory, axis: launchAxis, timeOf: timeOfLaunch,
    hit: hitLaunches }),
  new Chart("capacity", { label: "capacity used per launch", draw: drawCapacity, axis: launchAxis, timeOf: timeOfLaunch,
    hit: hitLaunches }),
];
if (PLAN.curve) {
  document.getElementById("curve-section").hidden = false;
  for (const [id, { label, series, show }] of Object.entries(CURVES))
    charts.push(new Chart(id, { label, draw: (pen) => drawCurve(pen, PLAN.curve, series, show) }));
}

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawAll();
  });
}
function drawAll() {
  for (const chart of charts) chart.show();
  const from = Math.floor(launchOfTime(view.from)), to = Math.max(Math.ceil(launchOfTime(view.to)) - 1, from);
  const times = TIMED ? `${showMs(view.from)} to ${showMs(view.to)}, ` : "";
  document.getElementById("range").textContent = LAUNCHES
    ? `${times}launches ${Math.min(from, LAUNCHES - 1)} to ${Math.min(to, LAUNCHES - 1)} of ${showCount(LAUNCHES)}` : "no launches";
}

function onChartKey(event) {
  const actions = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all", Home: "all" };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (actions[event.key]) moveView(actions[event.key]);
  else if ((event.key === "]" || event.key === "[") && LAUNCHES) {
    const span = selectedLaunches(), by = event.key === "]" ? 1 : -1;
    const next = span ? span.first + by : Math.floor(launchOfTime(view.from));
    select({ kind: "launch", index: Math.min(Math.max(next, 0), LAUNCHES - 1) });
  } else return;
  event.preventDefault();
}

function showTip(what, event) {
  tip.hidden = !what;
  if (!what) return;
  tip.textContent = tipText(what);
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - box.width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
}
