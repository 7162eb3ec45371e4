// Bars with a line on them that is dragged, or moved by the arrow keys. It goes from bar to bar, so that the counts it shows
// on the way are exact: sums of whole bars. Where it is let go, the server hears how many samples it keeps.
// Everything from a data set goes in as textContent or an attribute: it can never become markup.
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// Round numbers from low to high, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((each) => each >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high; place++) found.push(Number((place * step).toPrecision(12)));
  return found;
}

function draw(root, { bars, decided, signal }) {
  const { left, right, counts } = bars;
  const [first, last] = [left[0], right.at(-1)];
  const highest = Math.max(...counts);
  root.x = (score) => Math.min(Math.max((100 * (score - first)) / (last - first), 0), 100);
  root.kept = counts.map((_, bar) => counts.slice(bar).reduce((sum, n) => sum + n, 0)).concat(0);
  const shape = counts.map((n, bar) => {
    const [x, y] = [10 * root.x(left[bar]), 100 - (100 * n) / highest];
    return `M${x} 100V${y}H${10 * root.x(right[bar])}V100Z`;
  });
  for (const path of root.querySelectorAll(".bars path")) path.setAttribute("d", shape.join(""));
  const marks = { keep: "", drop: "", relabel: "" };
  for (const [action, score] of decided) marks[action] += `M${10 * root.x(score)} ${action === "keep" ? 0 : 6}v5`;
  for (const path of root.querySelectorAll(".decided path")) path.setAttribute("d", marks[path.dataset.action]);
  root.querySelector(".decided").style.display = decided.length ? "" : "none";
  const place = (selector, values, words, put) =>
    root.querySelector(selector).replaceChildren(
      ...values.map((value) => {
        const tick = document.createElement("span");
        tick.dataset.words = words(value);
        put(tick.style, value);
        return tick;
      }),
    );
  place(".x", ticks(first, last, 7), (at) => `${at}`.replace("-", "−"), (style, at) => (style.left = `${root.x(at)}%`));
  place(".y", ticks(0, highest, 4), (n) => short.format(n), (style, n) => (style.bottom = `${(100 * n) / highest}%`));
  root.querySelector(".title").textContent = signal;
}

// The line at a score; `bar` is the first that is kept, where it lies on an edge.
function move(root, score, kept) {
  const { bars, signal } = root.data;
  const [x, total] = [root.x(score), root.kept[0]];
  root.querySelector(".below").setAttribute("width", 10 * x);
  root.querySelector(".above").setAttribute("x", 10 * x);
  root.querySelector(".above").setAttribute("width", 1000 - 10 * x);
  const line = root.querySelector(".line");
  const said = `${whole.format(kept)} kept, ${whole.format(total - kept)} dropped`;
  line.style.left = `${x}%`;
  line.setAttribute("aria-valuemax", total);
  line.setAttribute("aria-valuenow", kept);
  line.setAttribute("aria-valuetext", said);
  line.setAttribute("aria-label", `Line on ${signal}`);
  const words = root.querySelector(".said");
  words.textContent = root.moved ? said : root.data.note;
  words.classList.toggle("left", x > 50);
  words.style.left = `${x}%`;
  root.bar = root.kept.findIndex((n) => n <= kept);
}

function to(root, bar) {
  const { left, right } = root.data.bars;
  const place = Math.min(Math.max(bar, 0), left.length);
  root.moved = true;
  move(root, place < left.length ? left[place] : right.at(-1), root.kept[place]);
  root.bar = place;
}

function nearest(root, event) {
  const box = root.querySelector(".plot").getBoundingClientRect();
  const { left, right } = root.data.bars;
  const at = left[0] + ((event.clientX - box.left) / box.width) * (right.at(-1) - left[0]);
  return [...left, right.at(-1)].reduce((best, edge, bar) => {
    const where = bar < left.length ? left : [...left, edge];
    return Math.abs(edge - at) < Math.abs(where[best] - at) ? bar : best;
  }, 0);
}

function hover(root, event) {
  const box = root.querySelector(".plot").getBoundingClientRect();
  const { left, right, counts, words } = root.data.bars;
  const share = (event.clientX - box.left) / box.width;
  const at = left[0] + share * (right.at(-1) - left[0]);
  const bar = left.findIndex((edge, place) => edge <= at && at < right[place]);
  const tip = root.querySelector(".tip");
  tip.textContent = bar < 0 || root.dragging ? "" : `${words[bar]}: ${whole.format(counts[bar])} samples`;
  tip.classList.toggle("left", share > 0.5);
  tip.style.left = `${100 * share}%`;
}

function listen(root) {
  const [plot, line] = [root.querySelector(".plot"), root.querySelector(".line")];
  const settle = () => root.tell(root.kept[root.bar]);
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plot.setPointerCapture(event.pointerId);
    root.dragging = true;
    to(root, nearest(root, event));
    line.focus({ preventScroll: true });
    event.preventDefault();
  });
  plot.addEventListener("pointermove", (event) => {
    if (root.dragging) to(root, nearest(root, event));
    hover(root, event);
  });
  plot.addEventListener("pointerleave", () => (root.querySelector(".tip").textContent = ""));
  plot.addEventListener("pointercancel", () => (root.dragging = false));
  plot.addEventListener("pointerup", () => {
    if (!root.dragging) return;
    root.dragging = false;
    settle();
  });
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };
  line.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    to(root, root.bar + steps[event.key]);
  });
  line.addEventListener("keyup", (event) => event.key in steps && settle()); // a held key moves on, and asks once
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".figure");
  const fresh = JSON.stringify([data.bars, data.decided, data.signal]);
  root.data = data;
  root.tell = (kept) => setTriggerValue("keep", kept);
  if (!root.listening) listen(root);
  root.listening = true;
  if (root.fresh !== fresh) draw(root, data);
  root.fresh = fresh;
  root.setAttribute("aria-label", data.alt);
  for (const [name, colour] of Object.entries(data.colours)) root.style.setProperty(`--${name}`, colour);
  if (root.dragging) return; // who drags on is not thrown back
  root.moved = false;
  move(root, data.line, data.kept);
}
