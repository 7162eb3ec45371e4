// What every component's script begins with. Everything from a data set goes in as textContent or an attribute: it can never
// become markup.
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const between = (low, value, high) => Math.min(Math.max(value, low), high);

function element(name, className = "", words = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = words;
  return made;
}

// Moves are numbered, and an answer says which one it knows of: an older one throws nobody back.
function answered(root, turn) {
  if (turn < (root.turn ?? 0)) return false;
  root.turn = turn;
  return true;
}
