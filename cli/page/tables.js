// Long tables: only the rows that are seen are in the document; sorted by a click on a heading; whole on paper up to a limit.
const ROW = 26, PAPER_ROWS = 200;
const grids = [];

class Grid {
  /** columns: { title, show(i), key(i), number, wide }; filters: { label: keep(i) }, the first keeps all. */
  constructor(id, kind, count, columns, filters) {
    this.kind = kind;
    this.columns = columns;
    this.count = count;
    this.filters = filters;
    this.root = document.getElementById(id);
    this.sorted = { column: 0, down: false };
    this.place = new Int32Array(count); // of an item among the rows; -1: filtered out
    this.head = element("tr");
    this.body = element("tbody");
    this.table = element("table", {}, element("thead", {}, this.head), this.body);
    this.box = element("div", { class: "grid", tabindex: "0", role: "region", "aria-label": document.getElementById(`${id}-title`).textContent }, this.table);
    this.note = element("span");
    this.root.append(this.controls(), this.box);
    this.box.addEventListener("scroll", () => this.fill());
    this.box.addEventListener("keydown", (event) => this.onKey(event));
    this.body.addEventListener("click", (event) => this.onClick(event));
    columns.forEach((column, c) => this.head.append(this.heading(column, c)));
    this.arrange();
    grids.push(this);
  }
  controls() {
    const row = element("div", { class: "controls" });
    if (Object.keys(this.filters).length > 1) {
      this.choice = element("select", { "aria-label": "which rows" });
      for (const label of Object.keys(this.filters)) this.choice.append(element("option", { text: label }));
      this.choice.addEventListener("change", () => this.arrange());
      row.append(this.choice);
    }
    row.append(this.note);
    return row;
  }
  heading(column, c) {
    const button = element("button", { type: "button", text: column.title });
    button.addEventListener("click", () => {
      this.sorted = { column: c, down: this.sorted.column === c ? !this.sorted.down : Boolean(column.number) };
      this.arrange();
    });
    return element("th", { class: column.number ? "number" : "", scope: "col" }, button);
  }
  arrange() {
    const { column, down } = this.sorted, key = this.columns[column].key, sign = down ? -1 : 1;
    const keep = this.choice ? this.filters[this.choice.value] : () => true;
    this.rows = [...Array(this.count).keys()].filter(keep);
    this.rows.sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : a - b));
    this.place.fill(-1);
    this.rows.forEach((item, row) => (this.place[item] = row));
    this.note.textContent = this.rows.length === this.count ? `${showCount(this.count)} rows` : `${showCount(this.rows.length)} of ${showCount(this.count)} rows`;
    this.table.setAttribute("aria-rowcount", this.rows.length + 1);
    [...this.head.children].forEach((th, c) =>
      c === column ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    this.shown = null;
    this.fill();
  }
  fill() {
    const first = Math.max(Math.floor(this.box.scrollTop / ROW) - 8, 0);
    const last = Math.min(first + Math.ceil((this.box.clientHeight || 480) / ROW) + 16, this.rows.length);
    if (this.shown?.first === first && this.shown.last === last) return;
    this.shown = { first, last };
    this.body.replaceChildren(this.space(first), ...this.rows.slice(first, last).map((item, n) => this.row(item, first + n)),
      this.space(this.rows.length - last));
  }
  space(rows) {
    const cell = element("td", { colspan: this.columns.length });
    cell.style.height = `${rows * ROW}px`;
    return element("tr", { class: "space", "aria-hidden": "true" }, cell);
  }
  row(item, place) {
    const row = element("tr", { "aria-rowindex": place + 2 }, ...this.cells(item));
    row.dataset.item = item;
    if (this.isSelected(item)) row.setAttribute("aria-selected", "true");
    return row;
  }
  cells(item) {
    return this.columns.map((column) => {
      const text = column.show(item), cell = element("td", { class: column.number ? "number" : column.wide ? "wide" : "", text });
      if (!column.number) cell.title = text;
      return cell;
    });
  }
  isSelected(item) {
    return selection?.kind === this.kind && selection.index === item;
  }
  showSelection() {
    if (selection?.kind === this.kind) {
      if (this.place[selection.index] < 0) {
        this.choice.selectedIndex = 0;
        this.arrange();
      }
      this.scrollTo(this.place[selection.index]);
    }
    this.shown = null;
    this.fill();
  }
  scrollTo(place) {
    const top = place * ROW, height = this.box.clientHeight - ROW; // the heading covers a row
    if (top < this.box.scrollTop || top + ROW > this.box.scrollTop + height) this.box.scrollTop = Math.max(top - height / 2, 0);
  }
  onClick(event) {
    const row = event.target.closest("tr[aria-rowindex]");
    if (row) select({ kind: this.kind, index: Number(row.dataset.item) });
  }
  onKey(event) {
    const page = Math.max(Math.floor(this.box.clientHeight / ROW) - 2, 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined || !this.rows.length || event.target !== this.box) return;
    const at = selection?.kind === this.kind ? this.place[selection.index] : -1;
    select({ kind: this.kind, index: this.rows[Math.min(Math.max(at + by, 0), this.rows.length - 1)] });
    event.preventDefault();
  }
  /** A table for paper, in the order shown. */
  paper() {
    const rows = this.rows.slice(0, PAPER_ROWS), head = element("tr");
    for (const column of this.columns) head.append(element("th", { class: column.number ? "number" : "", text: column.title }));
    const body = element("tbody", {}, ...rows.map((item) => element("tr", {}, ...this.cells(item))));
    const out = element("div", { class: "paper" }, element("table", {}, element("thead", {}, head), body));
    if (rows.length < this.count)
      out.append(element("p", { text: `The first ${showCount(rows.length)} of ${showCount(this.count)} rows, in the order shown on the screen; the page holds all.` }));
    return out;
  }
}

const number = (title, column, show) => ({ title, number: true, show: (i) => show(column[i], i), key: (i) => column[i] });
const index = (title) => ({ title, number: true, show: (i) => String(i), key: (i) => i });
const text = (title, at, wide = false) => ({ title, show: at, key: at, wide });
const launchesOf = (of) => ({ title: "launches", show: (i) => (of.first[i] === of.last[i] ? `${of.first[i]}` : `${of.first[i]}..${of.last[i]}`), key: (i) => of.first[i], number: true });

function makeGrids() {
  if (OVERLAPS) {
    document.getElementById("weights-section").hidden = false;
    new Grid("weights", "weight", OVERLAPS, [
      index("#"), text("weight", NAMES.weight), number("bytes", WEIGHTS.bytes, showBytes), number("chunks", WEIGHTS.chunks, showCount),
      launchesOf(WEIGHTS), text("chunks loaded under launches", loadText), text("why", (w) => nameOf(WEIGHTS.why[w]), true),
    ], { "all weights": () => true, preloaded: (w) => WEIGHTS.preload[w], streamed: (w) => !WEIGHTS.preload[w] });
  }
  if (READS) {
    document.getElementById("objects-section").hidden = false;
    const waitedFor = (o) => OBJECTS.first[o] < LAUNCHES && STEPS.stall[OBJECTS.first[o]] > 0;
    new Grid("objects", "object", READS, [
      index("#"), text("weight", NAMES.object), number("bytes", OBJECTS.bytes, showBytes), launchesOf(OBJECTS),
      number("read from", readBegin, showMs), number("arrives", OBJECTS.arrival, showMs), text("why", (o) => nameOf(OBJECTS.why[o]), true),
    ], { "all objects": () => true, kept: (o) => OBJECTS.resident[o], preloaded: (o) => OBJECTS.preload[o],
      streamed: (o) => !OBJECTS.resident[o] && !OBJECTS.preload[o], "for launches that wait": waitedFor });
  }
  new Grid("launches", "launch", LAUNCHES, [
    index("#"), text("step", launchName), text("class", className), number("starts", STEPS.start, showMs), number("takes", STEPS.seconds, showMs),
    number("waits", STEPS.stall, showMs), number("activations", STEPS.activation_bytes, showBytes), number("weights", STEPS.weight_bytes, showBytes),
    number("kept", STEPS.resident_bytes, showBytes), number(HAS_CAPACITY ? "loads" : "reads", room.does, showBytes), number("of", room.can, showBytes),
  ], { "all launches": () => true, "that wait": (k) => STEPS.stall[k] > 0, "that load": (k) => room.does[k] > 0 });
}
