// What is known of a launch, an object, a weight: for the pointer and for the selection.

const objectsOfLaunch = (k) => [...OBJECTS.first.keys()].filter((o) => OBJECTS.first[o] === k);

function launchFacts(k) {
  const facts = [
    ["launch", `${k} of ${showCount(LAUNCHES)}: kernel step ${STEPS.step[k]}, part ${STEPS.part[k]}`],
    ["class", `${className(k)} (${capacityClass(k)})`],
  ];
  if (TIMED) facts.push(["runs", `${showMs(STEPS.start[k])} to ${showMs(STEPS.end[k])}, takes ${showMs(STEPS.seconds[k])}`]);
  if (TIMED) facts.push(["waits for weights", showMs(STEPS.stall[k])]);
  if (STEPS.flops[k] > 0) facts.push(["work", `${(STEPS.flops[k] / 1e9).toPrecision(3)} Gflop, ${showBytes(STEPS.bytes[k])} of activations moved`]);
  for (const kind of MEMORY_KINDS) facts.push([kind.label, showBytes(kind.at(k))]);
  facts.push(["alive in all", showBytes(liveBytes[k])]);
  facts.push([HAS_CAPACITY ? "loads beside it" : "read meanwhile",
    `${showBytes(room.does[k])} of ${showBytes(room.can[k])} possible (${showShare(room.does[k], room.can[k])})`]);
  return facts;
}
function objectFacts(o) {
  const facts = [["object", `${o} of ${showCount(READS)}, part ${OBJECTS.part[o]} of the pack's object ${OBJECTS.object[o]}`]];
  if (OBJECTS.panels[o]) facts.push(["panels", `${OBJECTS.first_panel[o]} to ${OBJECTS.first_panel[o] + OBJECTS.panels[o] - 1}`]);
  facts.push(["bytes", `${showBytes(OBJECTS.bytes[o])} (${showCount(OBJECTS.bytes[o])})`]);
  facts.push(["used by", launchRange(OBJECTS.first[o], OBJECTS.last[o])]);
  facts.push(["lies at", `region ${OBJECTS.region[o]}, byte ${showCount(OBJECTS.offset[o])}`]);
  facts.push(["read", `${showMs(readBegin[o])} to ${showMs(OBJECTS.arrival[o])}`]);
  if (OBJECTS.convert_end[o] > OBJECTS.convert_start[o])
    facts.push(["converted", `${showMs(OBJECTS.convert_start[o])} to ${showMs(OBJECTS.convert_end[o])}`]);
  facts.push(["why", nameOf(OBJECTS.why[o])]);
  return facts;
}
function weightFacts(w) {
  const facts = [
    ["weight", `${w} of ${showCount(OVERLAPS)}`],
    ["bytes", `${showBytes(WEIGHTS.bytes[w])} (${plural(WEIGHTS.chunks[w], "chunk")})`],
    ["used by", launchRange(WEIGHTS.first[w], WEIGHTS.last[w])],
  ];
  if (WEIGHTS.load[w].length) facts.push(["loaded", loadText(w)]);
  facts.push(["why", nameOf(WEIGHTS.why[w])]);
  return facts;
}
const launchRange = (first, last) =>
  first === last ? `launch ${first} (${launchName(first)})` : `launches ${first} (${launchName(first)}) to ${last} (${launchName(last)})`;
/** "12 under 3, 4 under 5" */
const loadText = (w) => WEIGHTS.load[w].map(([step, chunks]) => `${chunks} under ${step}`).join(", ");

const FACTS = { launch: launchFacts, object: objectFacts, weight: weightFacts };
const NAMES = {
  launch: launchName,
  object: (o) => nameOf(OBJECTS.name[o]),
  weight: (w) => nameOf(WEIGHTS.name[w]),
};
const factsOf = ({ kind, index }) => FACTS[kind](index);
const titleOf = ({ kind, index }) => NAMES[kind](index);
const tipText = (what) => [titleOf(what), ...factsOf(what).map(([key, value]) => `${key}: ${value}`)].join("\n");

function fillFacts(list, facts) {
  list.replaceChildren();
  for (const [key, value] of facts) list.append(element("dt", { text: key }), element("dd", { text: value }));
}

function showDetails() {
  const body = document.getElementById("details-body"), root = document.getElementById("details");
  root.classList.toggle("empty", !selection);
  root.dataset.kind = selection?.kind ?? "";
  root.dataset.index = selection?.index ?? "";
  if (!selection) {
    body.replaceChildren("Nothing: click a block or a row, or search for a name.");
    return;
  }
  const list = element("dl");
  fillFacts(list, [["name", titleOf(selection)], ...factsOf(selection)]);
  if (selection.kind === "launch") {
    for (const o of objectsOfLaunch(selection.index).slice(0, 20))
      list.append(element("dt", { text: "first use of" }), element("dd", { text: `object ${o} (${NAMES.object(o)}), ${showBytes(OBJECTS.bytes[o])}: ${nameOf(OBJECTS.why[o])}` }));
  }
  body.replaceChildren(list);
}

/** Selects, or with null nothing; reveal: charts and tables move to where it is. */
function select(what, { reveal = true } = {}) {
  selection = what;
  showDetails();
  for (const grid of grids) grid.showSelection();
  const span = selectedLaunches();
  if (reveal && span) {
    const object = what.kind === "object" && TIMED;
    const from = object ? Math.min(readBegin[what.index], startOf(span.first)) : startOf(span.first);
    const to = object ? Math.max(OBJECTS.arrival[what.index], endOf(span.first)) : endOf(span.first);
    showTimes(from, to);
  }
  redraw();
}
