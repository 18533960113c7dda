// Looks at every page of the harness once all have loaded, and writes down what it sees as JSON.
"use strict";

const TEXTS = "h1, h2, h3, p, th, td, figcaption, summary, pre";

function rectOf(element) {
  if (element.tagName === "IMG") return element.getBoundingClientRect();
  const range = element.ownerDocument.createRange(); // the text itself, which may be wider than its box
  range.selectNodeContents(element);
  return range.getBoundingClientRect();
}

function nameOf(element) {
  return (element.alt || element.textContent).trim().slice(0, 60);
}

function look(frame) {
  const page = frame.contentDocument, width = frame.clientWidth;
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  const images = [...page.images];
  const boxes = [...page.querySelectorAll(TEXTS), ...images]
    .map((element) => ({ name: nameOf(element), rect: rectOf(element) }))
    .filter((box) => box.rect.width > 0 && box.rect.height > 0);
  const overlapping = [];
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
    const across = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
    const down = Math.min(a.rect.bottom, b.rect.bottom) - Math.max(a.rect.top, b.rect.top);
    if (across > 1 && down > 1) overlapping.push(`${a.name} / ${b.name}`);
  }));
  return {
    pictures: images.length,
    broken: images.filter((image) => !image.complete || image.naturalWidth === 0).map(nameOf),
    overlapping,
    outside: boxes.filter((box) => box.rect.left < 0 || box.rect.right > width).map((box) => box.name),
    page_width_px: page.scrollingElement.scrollWidth,
  };
}

window.addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(look);
  document.getElementById("found").textContent = JSON.stringify(found);
});
