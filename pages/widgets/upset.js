// An UpSet plot: on the left what each member drops, on the right a column a combination.
const ROOM = 12; // combinations beside which there is room for whole numbers

function bar(side, share) {
  const made = element("div", "bar");
  made.style[side] = share;
  return made;
}

function item(words, ...parts) {
  const made = element("li");
  made.setAttribute("aria-label", words);
  made.dataset.words = words;
  made.append(...parts);
  return made;
}

function member(one, most) {
  const share = element("div", "share");
  share.append(element("span", "", whole.format(one.dropped)), bar("width", `${(64 * one.dropped) / most}%`));
  return item(one.words, element("span", "name", one.name), share);
}

function combination(one, most, members, format) {
  const [height, dots] = [element("div", "height"), element("div", "dots")];
  height.append(element("span", "", format.format(one.samples)), bar("height", `${(88 * one.samples) / most}%`));
  dots.append(...members.map((_, place) => element("span", one.drops.includes(place) ? "dot on" : "dot")));
  dots.style.setProperty("--first", Math.min(...one.drops));
  dots.style.setProperty("--span", Math.max(...one.drops) - Math.min(...one.drops));
  return item(one.words, height, dots);
}

function listen(root) {
  const tip = root.querySelector(".tip");
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const left = event.clientX - box.left > box.width / 2;
    tip.textContent = event.target.closest("li")?.dataset.words ?? "";
    tip.style.top = `${event.clientY - box.top - 28}px`;
    tip.style.left = left ? "" : `${event.clientX - box.left}px`;
    tip.style.right = left ? `${box.right - event.clientX}px` : "";
  });
  root.addEventListener("pointerleave", () => (tip.textContent = ""));
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".figure");
  const { members, combinations, colours } = data;
  if (!root.listening) listen(root);
  root.listening = true;
  for (const [name, colour] of Object.entries(colours)) root.style.setProperty(`--${name}`, colour);
  const [each, together] = [members.map((one) => one.dropped), combinations.map((one) => one.samples)];
  const format = combinations.length > ROOM ? short : whole;
  root.querySelector(".members").replaceChildren(...members.map((one) => member(one, Math.max(...each, 1))));
  const columns = combinations.map((one) => combination(one, Math.max(...together), members, format));
  root.querySelector(".combinations").replaceChildren(...columns);
}
