// Tiles as links. A plain click goes there as Back and Forward do: the address changes, and Streamlit is told to look at
// it. That makes one entry in the history (st.switch_page makes two) and keeps the session (following the link would not).

function picture(tile) {
  const box = element("div", "picture");
  if (tile.uri) {
    const image = element("img", tile.small ? "small" : "");
    image.src = tile.uri;
    image.alt = tile.alt;
    box.append(image);
  } else {
    box.append(element("span", "reason", tile.reason));
  }
  if (tile.edge.length) {
    const edge = element("span", "edge");
    tile.edge.forEach((colour) => {
      const part = element("span");
      part.style.background = colour;
      edge.append(part);
    });
    box.append(edge);
  }
  if (tile.decided) box.append(element("span", "decided", tile.decided));
  return box;
}

function row(left, className, right, colour) {
  const made = element("div", `row ${className}`);
  made.title = left;
  for (const words of [left, right]) if (words) made.append(element("span", "", words));
  if (colour) made.style.color = colour;
  return made;
}

function drawn(tile, marks, markColour) {
  const link = element("a", "tile");
  link.href = tile.href;
  link.setAttribute("aria-label", tile.alt);
  link.append(picture(tile), row(tile.scores[0], "score", tile.scores[1]));
  if (tile.label) link.append(row(tile.label, tile.wraps ? "label wraps" : "label"));
  // a line of its own everywhere, or rows of two galleries side by side are not level
  if (marks) link.append(row(tile.mark || "\u00a0", "truth", "", markColour));
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate"));
    window.scrollTo(0, 0);
  };
  return link;
}

export default function ({ data, parentElement }) {
  const grid = parentElement.querySelector(".grid");
  grid.style.setProperty("--tile", `${data.tile}px`);
  grid.setAttribute("aria-label", data.name);
  const [before, now] = [grid.drawn ?? new Map(), new Map()];
  for (const tile of data.tiles) {
    const written = JSON.stringify([tile, data.marks, data.markColour]);
    now.set(written, before.get(written) ?? drawn(tile, data.marks, data.markColour)); // one that stays is not drawn again
  }
  grid.drawn = now;
  grid.replaceChildren(...(now.size ? now.values() : [element("div", "empty", data.empty)]));
}
