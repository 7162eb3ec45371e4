// A row each: its name, what is drawn beside it, and its number; an axis below where there are ticks.

function part(className, place = {}) {
  const made = element("span", className);
  if ("left" in place) made.style.left = `${place.left}%`;
  if ("width" in place) made.style.width = `${place.width}%`;
  if (place.colour) made.style.setProperty("--colour", place.colour);
  return made;
}

export default function ({ data, parentElement }) {
  const { rows, ticks, grid, caption, alt } = data;
  const lines = () => ticks.map(([left]) => part("grid", { left, colour: grid }));
  const made = rows.map(({ name, number, said, drawn, strong }) => {
    const row = element("li");
    const [words, track, value] = [part(strong ? "name strong" : "name"), part("track"), part("number")];
    words.textContent = name;
    value.textContent = number;
    row.title = said;
    track.setAttribute("aria-hidden", "true");
    track.append(...lines(), ...drawn.map((each) => part(each.kind, each)));
    row.append(words, track, value);
    return row;
  });
  const figure = parentElement.querySelector("figure");
  figure.setAttribute("aria-label", alt);
  figure.querySelector("ol").replaceChildren(...made);
  const words = ticks.map(([left, said]) => Object.assign(part("tick", { left }), { textContent: said }));
  figure.querySelector(".axis").replaceChildren(...words);
  figure.querySelector("figcaption").textContent = caption;
}
