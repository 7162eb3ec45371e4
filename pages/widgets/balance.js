// Everything from a data set goes in as textContent or title: it can never become markup.
const whole = new Intl.NumberFormat("en");

function part(className, share) {
  const made = document.createElement("span");
  made.className = className;
  made.style.width = `${share}%`;
  return made;
}

export default function ({ data, parentElement }) {
  const figure = parentElement.querySelector("figure");
  figure.style.setProperty("--kept", data.kept);
  figure.style.setProperty("--dropped", data.dropped);
  const rows = data.rows.map(({ name, kept, dropped }) => {
    const row = document.createElement("li");
    const [words, bar, number] = ["name", "bar", "number"].map((each) => part(each));
    const share = (100 * kept) / (kept + dropped);
    words.textContent = name;
    number.textContent = share.toFixed(1);
    bar.append(part("kept", share), part("dropped", 100 - share));
    row.title = `${name}: ${whole.format(kept)} of ${whole.format(kept + dropped)} kept, ${whole.format(dropped)} dropped`;
    row.append(words, bar, number);
    return row;
  });
  parentElement.querySelector("ol").replaceChildren(...rows);
}
