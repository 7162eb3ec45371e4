// Curves between two axes as one SVG, with all of its looks in attributes, so that what is saved looks as what is seen.

const SIZE = 12;
const DASHES = { solid: null, dash: "8 5", dot: "2 4", dashdot: "8 4 2 4", longdash: "14 6", longdashdot: "14 5 2 5" };
const MARKS = {
  circle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
  ring: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
  cross: "M-4 -4L4 4M-4 4L4 -4",
  diamond: "M0 -6L6 0L0 6L-6 0Z",
};
const REACH = 30; // pixels from a point within which pointing means it
const pen = document.createElement("canvas").getContext("2d");

function shape(name, attributes, words) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

const wide = (words) => pen.measureText(words).width;

function marked(mark, x, y, colour) {
  const filled = mark === "circle" || mark === "diamond";
  const look = { fill: filled ? colour : "none", stroke: colour, "stroke-width": mark === "cross" ? 2.5 : 1.5 };
  return shape("path", { d: MARKS[mark], transform: `translate(${x} ${y})`, ...look });
}

// One after the other, in as many rows as they take: what to draw, and how high it is.
function legend(curves, width, colours) {
  const [made, row] = [[], 20];
  let [x, y] = [0, 0];
  for (const { name, colour, line, width: thick, mark } of curves.filter((curve) => curve.name)) {
    const long = 34 + wide(name) + 18;
    if (x && x + long > width) [x, y] = [0, y + row];
    const middle = y + row / 2;
    if (line !== null) made.push(shape("path", { d: `M${x} ${middle}h26`, stroke: colour, "stroke-width": thick, "stroke-dasharray": DASHES[line] }));
    if (mark) made.push(marked(mark, x + 13, middle, colour));
    made.push(shape("text", { x: x + 34, y: middle + 4, fill: colours.muted }, name));
    x += long;
  }
  return [made, made.length ? y + row + 8 : 0];
}

// The stretches of a curve between its missing points, each a list of places.
function stretches(...rows) {
  const found = [[]];
  rows[0].forEach((_, place) => {
    if (rows.some((row) => row[place] === null)) found.push([]);
    else found.at(-1).push(place);
  });
  return found.filter((places) => places.length);
}

function drawn(curve, across, up) {
  const { x, y, low, high, band, across: flat, bar, colour, line, width, mark } = curve;
  const [made, joined] = [[], (points) => `M${points.map((point) => point.join(" ")).join("L")}`];
  if (low.length && band) {
    for (const places of stretches(x, low, high)) {
      const outline = [...places.map((at) => [across(x[at]), up(high[at])]), ...places.toReversed().map((at) => [across(x[at]), up(low[at])])];
      made.push(shape("path", { class: "band", d: `${joined(outline)}Z`, fill: colour, "fill-opacity": 0.18 }));
    }
  } else if (low.length) {
    const ends = (at, end) => (flat ? [across(end[at]), up(y[at])] : [across(x[at]), up(end[at])]);
    const bars = stretches(x, y, low, high).flat().map((at) => joined([ends(at, low), ends(at, high)]));
    made.push(shape("path", { class: "bars", d: bars.join(""), stroke: colour, "stroke-width": bar }));
  }
  if (line !== null) {
    const d = stretches(x, y).map((places) => joined(places.map((at) => [across(x[at]), up(y[at])]))).join("");
    made.push(shape("path", { class: "curve", d, fill: "none", stroke: colour, "stroke-width": width, "stroke-linejoin": "round", "stroke-dasharray": DASHES[line] }));
  }
  if (mark) made.push(...stretches(x, y).flat().map((at) => marked(mark, across(x[at]), up(y[at]), colour)));
  return made;
}

// Laid out in the letters that it is read in: the page's, or those of whoever opens the file.
function draw(root, letters = getComputedStyle(root).fontFamily) {
  const { curves, x, y, lines, height, alt, colours } = root.data;
  const svg = root.querySelector("svg");
  const full = root.clientWidth;
  if (!full) return;
  pen.font = `${SIZE}px ${letters}`;
  root.querySelector(".tip").textContent = "";
  const left = (y.title ? 24 : 0) + Math.max(...y.ticks.map(([, words]) => wide(words)), 0) + 10;
  const right = Math.max(14, x.ticks.length ? wide(x.ticks.at(-1)[1]) / 2 + 2 : 0);
  const button = root.querySelector(".save"); // which stands at the end of the legend's first row
  const [named, above] = legend(curves, full - left - right - button.offsetWidth, colours);
  const head = Math.max(above, button.offsetHeight) + 8;
  const box = { left, top: head, width: Math.max(full - left - right, 1), height: Math.max(height - head - 46, 1) };
  const across = (at) => box.left + ((at - x.low) / (x.high - x.low)) * box.width;
  const up = (at) => box.top + (1 - (at - y.low) / (y.high - y.low)) * box.height;
  const foot = box.top + box.height;
  const made = [shape("rect", { width: full, height, fill: colours.ground, class: "ground" })];
  const key = shape("g", { class: "legend", fill: "none", transform: `translate(${left} ${head - above - 2})` });
  key.append(...named);
  made.push(key);
  for (const [at, words] of x.ticks) {
    if (x.grid) made.push(shape("path", { d: `M${across(at)} ${box.top}V${foot}`, stroke: colours.grid }));
    made.push(shape("text", { class: "x", x: across(at), y: foot + 18, "text-anchor": "middle", fill: colours.muted }, words));
  }
  for (const [at, words] of y.ticks) {
    if (y.grid) made.push(shape("path", { d: `M${left} ${up(at)}h${box.width}`, stroke: colours.grid }));
    made.push(shape("text", { class: "y", x: left - 8, y: up(at) + 4, "text-anchor": "end", fill: colours.muted }, words));
  }
  const middle = { "text-anchor": "middle", fill: colours.muted, "font-size": 13 };
  made.push(shape("text", { ...middle, x: left + box.width / 2, y: height - 6 }, x.title));
  made.push(shape("text", { ...middle, transform: `translate(13 ${box.top + box.height / 2}) rotate(-90)` }, y.title));
  const beside = []; // over the curves
  for (const { at, words, across: flat } of lines) {
    const d = flat ? `M${left} ${up(at)}h${box.width}` : `M${across(at)} ${box.top}V${foot}`;
    made.push(shape("path", { class: "line", d, stroke: colours.text, "stroke-width": 2, "stroke-dasharray": "2 4" }));
    const [end, away] = across(at) > left + box.width / 2 ? ["end", -6] : ["start", 6];
    const place = { x: across(at) + away, y: box.top + 12, "text-anchor": end };
    const halo = { stroke: colours.ground, "stroke-width": 4, "stroke-linejoin": "round", "paint-order": "stroke" };
    if (words) beside.push(shape("text", { ...place, ...halo, fill: colours.muted }, words));
  }
  for (const curve of curves.toReversed()) {
    const group = shape("g", { class: "of", "data-name": curve.name, fill: "none" });
    group.append(...drawn(curve, across, up));
    made.push(group);
  }
  made.push(...beside);
  const about = { width: full, height, viewBox: `0 0 ${full} ${height}`, "font-size": SIZE, "font-family": letters, role: "img", "aria-label": alt };
  for (const [name, value] of Object.entries(about)) svg.setAttribute(name, value);
  svg.replaceChildren(...made);
  root.points = curves.flatMap(({ name, x: xs, y: ys, said, colour }) =>
    said.length ? stretches(xs, ys).flat().map((at) => ({ x: across(xs[at]), y: up(ys[at]), words: name ? `${name}: ${said[at]}` : said[at], colour })) : [],
  );
}

function pointed(root, event) {
  const box = root.querySelector("svg").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const far = (point) => Math.hypot(point.x - x, point.y - y);
  const nearest = root.points.reduce((best, point) => (best && far(best) <= far(point) ? best : point), null);
  return nearest && far(nearest) <= REACH ? nearest : null;
}

function listen(root) {
  const [svg, tip] = [root.querySelector("svg"), root.querySelector(".tip")];
  svg.addEventListener("pointermove", (event) => {
    const point = pointed(root, event);
    svg.querySelector(".pointed")?.remove();
    tip.textContent = point?.words ?? "";
    if (!point) return;
    svg.append(shape("circle", { class: "pointed", cx: point.x, cy: point.y, r: 6, fill: "none", stroke: point.colour, "stroke-width": 2 }));
    // beside the point, above it where there is room, and never beyond the figure
    const left = point.x > root.clientWidth / 2 ? point.x - tip.offsetWidth - 10 : point.x + 10;
    tip.style.left = `${between(0, left, root.clientWidth - tip.offsetWidth)}px`;
    tip.style.top = `${point.y < tip.offsetHeight + 8 ? point.y + 10 : point.y - tip.offsetHeight - 8}px`;
  });
  svg.addEventListener("pointerleave", () => {
    svg.querySelector(".pointed")?.remove();
    tip.textContent = "";
  });
  root.querySelector(".save").addEventListener("click", () => save(root));
  new ResizeObserver(() => draw(root)).observe(root);
}

// As an SVG, or drawn twice as large as it is seen.
async function save(root) {
  const { file, form } = root.data;
  draw(root, "system-ui, sans-serif");
  const svg = root.querySelector("svg").cloneNode(true);
  draw(root);
  const written = new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
  const picture = form === "svg" ? written : await painted(written, svg).catch(() => null);
  if (picture) download(picture, `${file}.${form}`);
  else root.querySelector(".save").textContent = "Not saved: too large";
}

async function painted(written, svg) {
  const address = URL.createObjectURL(written);
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = ["width", "height"].map((side) => 2 * svg.getAttribute(side));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((done) => canvas.toBlob(done));
}

function download(blob, name) {
  const link = document.createElement("a");
  [link.href, link.download] = [URL.createObjectURL(blob), name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".figure");
  const first = !root.data;
  root.data = data;
  for (const name of ["text", "muted", "ground"]) root.style.setProperty(`--${name}`, data.colours[name]);
  root.style.height = `${data.height}px`;
  const button = root.querySelector(".save");
  button.hidden = !data.file;
  button.textContent = `Save ${data.form.toUpperCase()}`;
  button.setAttribute("aria-label", `${button.textContent}: ${data.alt}`);
  if (first) listen(root); // which draws it, too
  else draw(root);
}
