// Bars that are looked at, cut by a line, or brushed, by pointer or keys. Line and brush go from bar to bar, so that the
// counts they show on the way are exact: sums of whole bars. Where they are let go, the server hears which bars they hold.
const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);

const PEOPLE = { keep: ["kept", "kept"], drop: ["dropped", "dropped"], relabel: ["reference", "relabelled"] };
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -1e9, End: 1e9 };
const CLICK = 3; // pixels that a hand may slip

function interval(low, high) {
  if (!low) return high ? `below ${high}` : "all scores";
  return high ? `${low} … ${high}` : `from ${low}`;
}

// How high so many samples are drawn, in %, and where the ticks are; on a linear scale at `round` numbers.
function heights(highest, lowest, logarithmic, round) {
  if (!logarithmic) return [(n) => (100 * n) / highest, round];
  const foot = lowest / 2; // the lowest bar is to be seen
  const found = [];
  for (let unit = 10 ** Math.floor(Math.log10(foot)); unit <= highest; unit *= 10) found.push(unit, 2 * unit, 5 * unit);
  const inside = found.filter((n) => n > foot && n <= highest);
  const at = inside.length > 6 ? inside.filter((n) => Number.isInteger(Math.log10(n))) : inside;
  return [(n) => (n > foot ? (100 * Math.log(n / foot)) / Math.log(highest / foot) : 0), at];
}

function draw(root) {
  const { bars, decided, logarithmic, signal, ramp } = root.data;
  const { left, right, counts, groups, strips } = bars;
  const [first, last] = [left[0], right.at(-1)];
  root.x = (score) => between(0, (100 * (score - first)) / (last - first), 100);
  // a place is between two bars, or at an end: where a brush that begins there is drawn, where one that ends there
  root.begins = [...left.map(root.x), 100];
  root.ends = [0, ...right.map(root.x)];
  root.below = [0, ...counts.map((_, bar) => sum(counts.slice(0, bar + 1)))];

  // a group is drawn from the foot, over those that are stacked on it
  const stacked = groups.map((_, place) => counts.map((_, bar) => sum(groups.slice(0, place + 1).map((one) => one.counts[bar]))));
  const all = stacked.at(-1);
  const [y, marks] = heights(Math.max(...all), Math.min(...stacked.flat().filter((n) => n)), logarithmic, bars.rounds);
  const shape = (ns) => ns.map((n, bar) => `M${10 * root.begins[bar]} 100V${100 - y(n)}H${10 * root.ends[bar + 1]}V100Z`).join("");
  const paths = stacked.map((ns, place) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", shape(ns));
    path.style.fill = `var(--${groups[place].colour})`;
    return path;
  });
  root.querySelector(".inside").replaceChildren(...paths.reverse());
  root.querySelector(".outside").setAttribute("d", shape(all));
  root.querySelector(".outside").style.fill = `var(--${bars.outside})`;

  root.querySelector(".decided").style.display = decided.length ? "" : "none";
  const people = Object.entries(PEOPLE).map(([action, [colour, words]]) => {
    const mine = decided.filter(([one]) => one === action);
    const path = root.querySelector(`[data-action=${action}]`);
    path.setAttribute("d", mine.map(([, score]) => `M${10 * root.x(score)} ${action === "keep" ? 0 : 12}v10`).join(""));
    path.style.stroke = `var(--${colour})`;
    return mine.length ? entry("tick", colour, `${whole.format(mine.length)} ${words} by people`) : "";
  });
  const legend = groups.length > 1 ? groups.map(({ name, colour }) => entry("square", colour, name)) : [];
  const [drawn, total] = [sum(all), sum(counts)];
  root.sampled = drawn !== total;
  if (root.sampled) legend.push(element("span", "", `a draw of ${whole.format(drawn)} of ${whole.format(total)}`));
  root.querySelector(".legend").replaceChildren(...legend, ...people);

  const most = Math.max(...strips.map((strip) => Math.max(...strip.counts) / sum(strip.counts)));
  root.querySelector(".strips").replaceChildren(...strips.map((strip) => cells(root, strip, most, ramp)));
  root.classList.toggle("striped", strips.length > 0);

  const place = (selector, values, words, put) =>
    root.querySelector(selector).replaceChildren(
      ...values.map((value) => {
        const tick = document.createElement("span");
        tick.dataset.words = words(value);
        put(tick.style, value);
        return tick;
      }),
    );
  place(".x", bars.ticks, ([, words]) => words, (style, [at]) => (style.left = `${root.x(at)}%`));
  place(".y", marks, (n) => short.format(n), (style, n) => (style.bottom = `${y(n)}%`));
  root.querySelector(".title").textContent = signal;
}

function entry(className, colour, words) {
  const made = element("span", className, words);
  made.style.setProperty("--mark", `var(--${colour})`);
  return made;
}

// A class's strip: each bar in the colour of how much of the class lies in it.
function cells(root, { name, counts }, most, ramp) {
  const size = sum(counts);
  const stops = counts.flatMap((n, bar) => {
    const level = ramp[Math.round(((ramp.length - 1) * n) / size / most)];
    return [`${ramp[0]} ${root.ends[bar]}% ${root.begins[bar]}%`, `${level} ${root.begins[bar]}% ${root.ends[bar + 1]}%`];
  });
  const strip = element("div", "strip");
  strip.setAttribute("role", "img");
  strip.setAttribute("aria-label", `${name}: ${whole.format(size)} samples`);
  strip.style.background = `linear-gradient(90deg, ${stops.join()})`;
  strip.append(element("span", "name", name));
  return strip;
}

// What lies from `low` to `high`, in % of the width, is chosen, as `words` say.
function show(root, low, high, words) {
  const { kind, signal, bars } = root.data;
  const [inside, before, after] = root.querySelectorAll("rect");
  for (const [rect, from, to] of [[inside, low, high], [before, 0, low], [after, high, 100]]) {
    rect.setAttribute("x", 10 * from);
    rect.setAttribute("width", 10 * (to - from));
  }
  root.classList.toggle("chosen", low > 0 || high < 100);
  root.style.setProperty("--low", `${low}%`);
  root.style.setProperty("--high", `${high}%`);
  for (const end of root.querySelectorAll(".end")) {
    const lower = end.dataset.end === "low";
    end.hidden = kind === "looked at" || (kind === "line" && !lower);
    end.setAttribute("aria-label", `${kind === "line" ? "Line" : lower ? "Lower end" : "Upper end"} on ${signal}`);
    end.setAttribute("aria-valuemax", bars.counts.length);
    end.setAttribute("aria-valuenow", lower ? root.first : root.last);
    end.setAttribute("aria-valuetext", words);
  }
}

// The words beside the end that is moved.
function say(root, words, at) {
  const said = root.querySelector(".said");
  said.textContent = words;
  said.classList.toggle("left", at > 50);
  said.style.left = `${at}%`;
}

function split(kept, root) {
  return `${whole.format(kept)} kept, ${whole.format(root.below.at(-1) - kept)} dropped`;
}

// The bars from the first to before the last are chosen.
function choose(root, first, last, moved) {
  const { kind, bars } = root.data;
  [root.first, root.last] = [first, last];
  const within = root.below[last] - root.below[first];
  const words =
    kind === "line" ? split(within, root) : `${interval(bars.lows[first], bars.highs[last - 1])}: ${whole.format(within)} samples`;
  const [low, high] = [root.begins[first], root.ends[last]];
  show(root, low, high, words);
  say(root, words, moved === "low" ? low : high);
}

// What the server says is chosen, which may begin and end within bars.
function rest(root) {
  const { kind, chosen, bars } = root.data;
  const [low, high] = chosen ? [root.x(chosen.low), root.x(chosen.high)] : [0, 100];
  [root.first, root.last] = [nearest(root, low), nearest(root, high)];
  if (kind === "brush" && root.first >= root.last) [root.first, root.last] = one(root, root.first, low);
  show(root, low, high, kind === "line" ? split(chosen.n, root) : chosen?.said ?? "");
  say(root, chosen?.note ?? "", low);
}

// The one bar beside a place on which `at` lies.
function one(root, place, at) {
  const first = between(0, at < root.begins[place] ? place - 1 : place, root.begins.length - 2);
  return [first, first + 1];
}

function nearest(root, at) {
  const away = (place) => Math.min(Math.abs(root.begins[place] - at), Math.abs(root.ends[place] - at));
  return root.begins.reduce((best, _, place) => (away(place) < away(best) ? place : best), 0);
}

function where(root, event) {
  const box = root.querySelector(".plot").getBoundingClientRect();
  return [(100 * (event.clientX - box.left)) / box.width, event.clientY - box.top];
}

function drag(root, event) {
  const [at] = where(root, event);
  const place = nearest(root, at);
  if (root.data.kind === "line") return choose(root, place, root.below.length - 1, "low");
  const { anchor } = root.held;
  const [first, last] = place === anchor ? one(root, place, at) : [Math.min(anchor, place), Math.max(anchor, place)];
  choose(root, first, last, place > anchor ? "high" : "low");
}

function hover(root, event) {
  const { lows, highs, counts, groups, strips } = root.data.bars;
  const [at, height] = where(root, event);
  const bar = counts.findIndex((_, place) => root.begins[place] <= at && at < root.ends[place + 1]);
  const drawn = [...root.querySelectorAll(".strip")].map((strip) => strip.getBoundingClientRect());
  const strip = strips[drawn.findIndex(({ top, bottom }) => top <= event.clientY && event.clientY < bottom)];
  const words = () => {
    const range = interval(lows[bar], highs[bar]);
    if (strip) return `${strip.name}, ${range}: ${whole.format(strip.counts[bar])} of ${whole.format(sum(strip.counts))}`;
    const parts = groups.length > 1 ? groups.map((group) => ` · ${group.name} ${whole.format(group.counts[bar])}`) : [];
    return `${range}: ${whole.format(counts[bar])} samples${root.sampled ? ", of the draw" : ""}${parts.join("")}`;
  };
  const tip = root.querySelector(".tip");
  tip.textContent = bar < 0 || root.held ? "" : words();
  tip.classList.toggle("left", at > 50);
  tip.style.left = `${at}%`;
  tip.style.top = `${Math.max(height - 34, 22)}px`;
}

function listen(root) {
  const plot = root.querySelector(".plot");
  const settle = () => root.tell({ first: root.first, last: root.last, turn: ++root.turn });
  const lift = () => {
    root.held = null;
    if (!root.classList.contains("chosen")) return;
    choose(root, 0, root.below.length - 1, "high");
    settle();
  };
  plot.addEventListener("pointerdown", (event) => {
    const { kind } = root.data;
    if (event.button !== 0 || kind === "looked at") return;
    plot.setPointerCapture(event.pointerId);
    root.classList.add("pointed");
    const { end } = event.target.dataset;
    const anchor = end ? (end === "low" ? root.last : root.first) : nearest(root, where(root, event)[0]);
    root.held = { anchor, from: event.clientX, moved: kind === "line" || Boolean(end) };
    if (kind === "line") drag(root, event);
    root.querySelector(`.end[data-end=${end ?? (kind === "line" ? "low" : "high")}]`).focus({ preventScroll: true });
    event.preventDefault();
  });
  plot.addEventListener("pointermove", (event) => {
    if (root.held) root.held.moved ||= Math.abs(event.clientX - root.held.from) > CLICK;
    if (root.held?.moved) drag(root, event);
    hover(root, event);
  });
  plot.addEventListener("pointerleave", () => (root.querySelector(".tip").textContent = ""));
  plot.addEventListener("pointercancel", () => {
    root.held = null;
    rest(root);
  });
  plot.addEventListener("pointerup", () => {
    if (!root.held || root.held.key) return;
    const { moved } = root.held;
    root.held = null;
    if (moved) settle();
    else lift();
  });
  for (const end of root.querySelectorAll(".end")) {
    const lower = end.dataset.end === "low";
    end.addEventListener("keydown", (event) => {
      root.classList.remove("pointed");
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { kind } = root.data;
      const step = STEPS[event.key];
      if (event.key === "Escape" && kind === "brush") lift();
      if (!step) return;
      event.preventDefault();
      root.held = { key: true }; // what the server says meanwhile does not throw back
      const least = kind === "line" ? 0 : 1; // bars
      if (lower) choose(root, between(0, root.first + step, root.last - least), root.last, "low");
      else choose(root, root.first, between(root.first + least, root.last + step, root.below.length - 1), "high");
    });
    // a held key moves on, and asks once
    const release = () => {
      if (!root.held?.key) return;
      root.held = null;
      settle();
    };
    end.addEventListener("keyup", (event) => STEPS[event.key] && release());
    end.addEventListener("blur", release);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".figure");
  const { bars, decided, signal, logarithmic, ramp } = data;
  const fresh = JSON.stringify([bars, decided, signal, logarithmic, ramp]);
  root.data = data;
  root.tell = (chosen) => setTriggerValue("chosen", chosen);
  root.dataset.kind = data.kind;
  root.setAttribute("role", data.kind === "looked at" ? "img" : "group");
  root.setAttribute("aria-label", data.alt);
  root.style.setProperty("--height", `${data.height}px`);
  for (const [name, colour] of Object.entries(data.colours)) root.style.setProperty(`--${name}`, colour);
  if (!bars.counts.length) return;
  if (root.fresh === undefined) listen(root);
  if (root.fresh !== fresh) draw(root);
  root.fresh = fresh;
  // who drags on is not thrown back, nor where a later move is on its way
  if (!root.held && answered(root, data.turn)) rest(root);
}
