// The browser's side of deciding by key. It alone knows when a picture was really drawn, so it lets no key through that
// was held down, nor any within data.guard milliseconds of a new picture or of the key before. When data.focus names a
// field that has just appeared, the keyboard goes there.
const guard = (window.mimicKeys ??= { keys: "", until: 0, turn: null });

if (!guard.listening) {
  guard.listening = true;
  window.addEventListener(
    "keydown",
    (event) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, [contenteditable=true]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !guard.keys.includes(event.key.toLowerCase())) return;
      const now = performance.now();
      if (event.repeat || now < guard.until) {
        event.stopImmediatePropagation();
        event.preventDefault();
        return;
      }
      guard.until = now + guard.milliseconds;
    },
    true,
  );
}

export default function ({ data }) {
  guard.keys = data.keys;
  guard.milliseconds = data.guard;
  if (guard.turn !== data.turn) {
    guard.turn = data.turn;
    guard.until = Infinity;
    // two frames later the picture is on the screen
    requestAnimationFrame(() => requestAnimationFrame(() => (guard.until = performance.now() + data.guard)));
  }
  if (data.focus) document.querySelector(`.st-key-${data.focus} input`)?.focus();
}
