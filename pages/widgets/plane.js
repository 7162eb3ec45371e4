// A plane between two axes: cells shaded by how many lie there; lines across it, marks, and words in its corners. Places are
// shares of the plane, 0 … 1. What has not changed since the last time stays as it is.

// The colour of a count, halfway between the ramp's steps where it, or its logarithm, lies so.
function shader(ramp, most, logarithmic) {
  const steps = ramp.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return (count) => {
    const share = !logarithmic ? count / most : most > 1 ? Math.log(count) / Math.log(most) : 1;
    const at = share * (steps.length - 1);
    const below = Math.min(Math.floor(at), steps.length - 2);
    return steps[below].map((part, place) => part + (at - below) * (steps[below + 1][place] - part));
  };
}

function cells(root, { counts, middles, ramp, logarithmic }) {
  const canvas = root.querySelector("canvas");
  const across = middles[0].length;
  [canvas.width, canvas.height] = [across, middles[1].length];
  const [drawing, shade] = [canvas.getContext("2d"), shader(ramp, counts.reduce((most, n) => Math.max(most, n), 1), logarithmic)];
  const picture = drawing.createImageData(canvas.width, canvas.height);
  counts.forEach((count, cell) => {
    const row = canvas.height - 1 - Math.floor(cell / across); // upwards
    if (count) picture.data.set([...shade(count), 255], 4 * (row * across + (cell % across)));
  });
  drawing.putImageData(picture, 0, 0);
}

function axes(root, ticks) {
  ticks.forEach((axis, place) => {
    const made = axis.map(([at, words]) => {
      const tick = element("span");
      tick.dataset.words = words;
      tick.style[place ? "bottom" : "left"] = `${100 * at}%`;
      return tick;
    });
    root.querySelector(place ? ".y" : ".x").replaceChildren(...made);
  });
}

function marks(root, drawn) {
  const made = drawn.map(([action, x, y]) => {
    const mark = element("span");
    mark.dataset.action = action;
    [mark.style.left, mark.style.top] = [`${100 * x}%`, `${100 * (1 - y)}%`];
    return mark;
  });
  root.querySelector(".marks").replaceChildren(...made);
}

function corners(root, words) {
  root.querySelector(".corners").replaceChildren(...Object.entries(words).map(([where, name]) => element("span", where, name)));
}

// What lies where one points: the nearest mark within reach, else the cell.
function said({ counts, middles, marks, unit }, x, y, box) {
  const away = (at, up) => Math.hypot((at - x) * box.width, (up - y) * box.height);
  const nearest = (all, far) => all.reduce((best, one, place) => (far(one) < far(all[best]) ? place : best), 0);
  const mark = marks[nearest(marks, ([, at, up]) => away(at, up))];
  if (mark && away(mark[1], mark[2]) < 8) return mark[3];
  const [column, row] = [x, y].map((at, axis) => Math.min(Math.floor(at * middles[axis].length), middles[axis].length - 1));
  const count = counts[row * middles[0].length + column];
  return count ? `${whole.format(count)} ${unit}${count === 1 ? "" : "s"} near (${middles[0][column]}, ${middles[1][row]})` : "";
}

function listen(root) {
  const [plot, tip] = [root.querySelector(".plot"), root.querySelector(".tip")];
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
    tip.textContent = said(root.data, between(0, x, 1), between(0, y, 1), box);
    tip.classList.toggle("left", x > 0.5);
    [tip.style.left, tip.style.top] = [`${100 * x}%`, `${100 * (1 - y)}%`];
  });
  plot.addEventListener("pointerleave", () => (tip.textContent = ""));
}

function lines(root, [x, y]) {
  const [up, across] = [root.querySelector(".line.up"), root.querySelector(".line.across")];
  [up.hidden, across.hidden] = [x === null, y === null];
  [up.style.left, across.style.top] = [`${100 * x}%`, `${100 * (1 - y)}%`];
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".figure");
  if (!root.data) listen(root);
  root.data = data;
  root.drawn ??= {};
  const anew = (name, draw, drawn) => {
    const written = JSON.stringify(drawn);
    if (drawn !== undefined && root.drawn[name] !== written) draw(root, drawn);
    root.drawn[name] = written;
  };
  for (const [name, colour] of Object.entries(data.colours)) root.style.setProperty(`--${name}`, colour);
  root.setAttribute("role", "img"); // not in the markup, which has no name yet
  root.setAttribute("aria-label", data.alt);
  root.querySelector(".plot").style.height = `${data.height}px`;
  [root.querySelector(".title").textContent, root.querySelector(".side").textContent] = data.titles;
  anew("axes", axes, data.ticks);
  anew("cells", cells, { counts: data.counts, middles: data.middles, ramp: data.ramp, logarithmic: data.logarithmic });
  anew("marks", marks, data.marks);
  anew("corners", corners, data.corners);
  lines(root, data.lines);
}
