// Words, and a button that copies them. Where the browser has no clipboard for us (a page that came without TLS from another
// machine), it selects them: Ctrl-C is all that is left to do.

async function copy(block) {
  const words = block.querySelector("pre");
  const said = block.querySelector("span");
  try {
    await navigator.clipboard.writeText(words.textContent);
    said.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(words);
    said.textContent = "Selected: press Ctrl-C";
  }
  clearTimeout(block.timer);
  block.timer = setTimeout(() => (said.textContent = ""), 3000);
}

export default function ({ data, parentElement }) {
  const block = parentElement.querySelector(".block");
  block.querySelector("pre").textContent = data.words;
  block.querySelector("button").onclick = () => copy(block);
}
