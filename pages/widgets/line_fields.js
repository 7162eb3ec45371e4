// A slider and three fields that show one line. What somebody moves is told to the server when it is let go or entered; an
// answer to an earlier move, or to somebody who types on, changes nothing that they see.

function say(root) {
  root.querySelector("output").textContent = whole.format(root.querySelector("[type=range]").value);
}

function listen(root) {
  const tell = (input) => {
    if (input.value === "" || !input.validity.valid) return;
    input.changed = false;
    root.last = input;
    root.turn += 1;
    root.tell({ unit: input.dataset.unit, value: Number(input.value), turn: root.turn });
  };
  for (const input of root.querySelectorAll("input")) {
    input.addEventListener("input", () => {
      input.changed = true;
      if (input.type === "range") say(root);
    });
    input.addEventListener("change", () => tell(input));
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".units");
  root.tell = (moved) => setTriggerValue("moved", moved);
  if (!root.listening) listen(root);
  root.listening = true;
  root.querySelector(".lowest").textContent = data.lowest;
  for (const input of root.querySelectorAll("[data-unit=count]")) input.max = data.scored;
  if (!answered(root, data.turn)) return;
  const values = { count: data.kept, share: data.share, score: data.score ?? "" };
  const held = root.getRootNode().activeElement;
  for (const input of root.querySelectorAll("input"))
    if (!input.changed && (input !== held || input === root.last)) input.value = values[input.dataset.unit];
  say(root);
}
