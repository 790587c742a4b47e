// One way to draw, on a canvas (screen) or as SVG (paper).  Colours are names of page.css.
const measure = document.createElement("canvas").getContext("2d");
const FONT = "system-ui, sans-serif";

function textWidth(text, size) {
  measure.font = `${size}px ${FONT}`;
  return measure.measureText(text).width;
}
/** The text, or its beginning with an ellipsis, or nothing: at most `width` wide. */
function fitText(text, width, size) {
  if (textWidth(text, size) <= width) return text;
  const length = firstWhere(text.length, (n) => textWidth(text.slice(0, n + 1) + "\u2026", size) > width);
  return length > 1 ? text.slice(0, length) + "\u2026" : "";
}

const resolved = new Map(); // name of a colour: what it is in the present scheme
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
function colour(name) {
  if (!resolved.has(name)) {
    probe.style.color = `var(--${name})`;
    resolved.set(name, getComputedStyle(probe).color);
  }
  return resolved.get(name);
}

class CanvasPen {
  constructor(canvas, width, height) {
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    this.width = width;
    this.height = height;
    this.to = canvas.getContext("2d");
    this.to.setTransform(scale, 0, 0, scale, 0, 0);
    this.to.clearRect(0, 0, width, height);
  }
  rect(x, y, w, h, name) {
    this.to.fillStyle = colour(name);
    this.to.fillRect(x, y, w, h);
  }
  hatched(x, y, w, h, name) {
    this.rect(x, y, w, h, name);
    if (w < 4) return;
    this.inside(x, y, w, h, () => {
      this.to.strokeStyle = colour("surface");
      this.to.lineWidth = 1.2;
      this.to.beginPath();
      for (let at = x - h; at < x + w; at += 6) {
        this.to.moveTo(at, y + h);
        this.to.lineTo(at + h, y);
      }
      this.to.stroke();
    });
  }
  frame(x, y, w, h, name, width = 1) {
    this.to.strokeStyle = colour(name);
    this.to.lineWidth = width;
    this.to.strokeRect(x, y, w, h);
  }
  line(points, name, { dash = [], width = 1 } = {}) {
    this.to.strokeStyle = colour(name);
    this.to.lineWidth = width;
    this.to.setLineDash(dash);
    this.trace(points);
    this.to.stroke();
    this.to.setLineDash([]);
  }
  area(points, name) {
    this.to.fillStyle = colour(name);
    this.trace(points);
    this.to.fill();
  }
  trace(points) {
    this.to.beginPath();
    for (let i = 0; i < points.length; i += 2) this.to.lineTo(points[i], points[i + 1]);
  }
  dot(x, y, radius, name) {
    this.to.fillStyle = colour(name);
    this.to.beginPath();
    this.to.arc(x, y, radius, 0, 2 * Math.PI);
    this.to.fill();
  }
  text(x, y, text, { name = "soft", align = "left", size = 11 } = {}) {
    this.to.fillStyle = colour(name);
    this.to.font = `${size}px ${FONT}`;
    this.to.textAlign = align;
    this.to.fillText(text, x, y);
  }
  inside(x, y, w, h, draw) {
    this.to.save();
    this.to.beginPath();
    this.to.rect(x, y, w, h);
    this.to.clip();
    draw();
    this.to.restore();
  }
}

let clips = 0;
const ANCHOR = { left: "start", right: "end", center: "middle" };
const brief = (n) => Math.round(n * 100) / 100;

class SvgPen {
  constructor(width, height, label) {
    this.width = width;
    this.height = height;
    this.root = this.make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    this.to = this.root;
  }
  make(tag, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes))
      node.setAttribute(key, typeof value === "number" ? String(brief(value)) : value);
    if (this.to) this.to.append(node);
    return node;
  }
  rect(x, y, width, height, name) {
    this.make("rect", { x, y, width, height, fill: `var(--${name})` });
  }
  hatched(x, y, w, h, name) {
    this.rect(x, y, w, h, name);
    for (let at = x + 3; at < x + w - 3; at += 5) this.line([at, y + h, at + 3, y], "surface");
  }
  frame(x, y, width, height, name, weight = 1) {
    this.make("rect", { x, y, width, height, fill: "none", stroke: `var(--${name})`, "stroke-width": weight });
  }
  line(points, name, { dash = [], width = 1 } = {}) {
    const line = { points: points.map(brief).join(" "), fill: "none", stroke: `var(--${name})`, "stroke-width": width };
    if (dash.length) line["stroke-dasharray"] = dash.join(" ");
    this.make("polyline", line);
  }
  area(points, name) {
    this.make("polygon", { points: points.map(brief).join(" "), fill: `var(--${name})` });
  }
  dot(cx, cy, r, name) {
    this.make("circle", { cx, cy, r, fill: `var(--${name})` });
  }
  text(x, y, text, { name = "soft", align = "left", size = 11 } = {}) {
    const style = { x, y, fill: `var(--${name})`, "text-anchor": ANCHOR[align], "font-size": size, "font-family": FONT };
    this.make("text", style).textContent = text;
  }
  inside(x, y, width, height, draw) {
    const id = `clip${clips++}`, outer = this.to;
    this.to = this.make("clipPath", { id });
    this.make("rect", { x, y, width, height });
    this.to = outer;
    this.to = this.make("g", { "clip-path": `url(#${id})` });
    draw();
    this.to = outer;
  }
}
