// The page of a graph: pictures made beforehand, one for each module; here they are shown, moved and asked about.
"use strict";
const graph = JSON.parse(document.getElementById("graph").textContent);
const [picture, scene, told, trail, search, found, wholeButton, turn] =
  ["picture", "scene", "told", "trail", "search", "found", "whole", "turn"].map((id) => document.getElementById(id));
const WHOLE = -1;
let shown = null;    // the number of the view that is shown, or WHOLE
let selected = null; // the id of a node
let frame = { x: 0, y: 0, scale: 1 };

function make(tag, text, parent, click) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (click) element.addEventListener("click", click);
  parent.append(element);
  return element;
}

// --- what is shown ---------------------------------------------------------------------------------------------------

function current() {
  return shown === WHOLE ? graph.whole : graph.views[shown];
}

function show(view) {
  if (view === shown) return;
  shown = view;
  scene.innerHTML = current().svg; // made by the library, with every text escaped
  trail.replaceChildren();
  const path = [];
  for (let k = view === WHOLE ? 0 : view; k !== null; k = graph.views[k].parent) path.unshift(k);
  path.forEach((k, place) => {
    if (place) make("span", "›", trail);
    const step = make("button", graph.views[k].name, trail, () => show(k));
    step.disabled = k === shown;
  });
  wholeButton.disabled = !graph.whole;
  wholeButton.setAttribute("aria-pressed", String(shown === WHOLE));
  fit();
  mark();
}

function fit() {
  const size = current();
  const room = picture.getBoundingClientRect();
  const scale = Math.min(1.25, (room.width || 800) / size.width, (room.height || 600) / size.height);
  // What would be too small to read starts at its top instead.
  frame.scale = scale < 0.35 ? Math.min(0.8, Math.max(0.35, (room.width || 800) / size.width)) : scale;
  frame.x = Math.max(12, ((room.width || 800) - size.width * frame.scale) / 2);
  frame.y = 12;
  place();
}

function place() {
  scene.setAttribute("transform", `translate(${frame.x} ${frame.y}) scale(${frame.scale})`);
}

function centre(box) {
  const room = picture.getBoundingClientRect();
  const rect = box.querySelector("rect");
  const at = (name) => Number(rect.getAttribute(name));
  frame.x = room.width / 2 - (at("x") + at("width") / 2) * frame.scale;
  frame.y = room.height / 2 - (at("y") + at("height") / 2) * frame.scale;
  place();
}

// --- one node --------------------------------------------------------------------------------------------------------

function select(id, travel) {
  selected = id;
  const node = graph.nodes[id];
  if (travel && shown !== WHOLE && !scene.querySelector(`[data-node="${id}"]`)) show(node.view);
  mark();
  if (travel) {
    const box = scene.querySelector(`[data-node="${id}"]`);
    if (box) centre(box);
  }
  tell(node);
}

function mark() {
  const wanted = search.value.trim().toLowerCase();
  let count = 0;
  const matches = new Set();
  if (wanted) {
    for (const [id, node] of Object.entries(graph.nodes)) {
      const text = [node.op, node.name, node.label, node.module, node.where, node.source].join("\n").toLowerCase();
      if (text.includes(wanted)) { matches.add(id); count += 1; }
    }
  }
  found.textContent = wanted ? `${count} found` : "";
  for (const box of scene.querySelectorAll(".box")) {
    const id = box.dataset.node;
    const inside = box.dataset.region;
    const holds = inside !== undefined && [...matches].some((m) => isIn(graph.nodes[m].view, current().inside[inside]));
    box.classList.toggle("selected", id !== undefined && Number(id) === selected);
    box.classList.toggle("match", matches.has(id) || holds);
  }
  for (const line of scene.querySelectorAll(".line")) {
    line.classList.toggle("selected", Number(line.dataset.value) === selected);
  }
  return matches;
}

function isIn(view, outer) {
  for (let k = view; k !== null; k = graph.views[k].parent) if (k === outer) return true;
  return false;
}

function tell(node) {
  told.replaceChildren();
  make("h2", node.title, told);
  const list = make("dl", undefined, told);
  const row = (name, fill) => {
    if (fill === undefined || fill === null || fill === "") return;
    make("dt", name, list);
    const cell = make("dd", typeof fill === "function" ? undefined : String(fill), list);
    if (typeof fill === "function") fill(cell);
  };
  const links = (ids) => (cell) => ids.forEach((id) => {
    const other = graph.nodes[id];
    make("button", other.label || `${other.op} #${id}`, cell, () => select(id, true));
  });
  if (node.source || node.where) {
    row("line", (cell) => {
      make("pre", node.source || "", cell);
      make("span", `${node.file}:${node.line}, in ${node.function}`, cell);
    });
  }
  row("backward", node.name);
  row("module", node.module ? (cell) => make("button", node.module, cell, () => show(node.view)) : "");
  row("shape", node.shape.length ? node.shape.join(" × ") : "a number");
  row("dtype", `${node.dtype}, ${node.device}`);
  row("size", node.bytes);
  row("arithmetic", node.flops);
  if (node.inputs.length) {
    row("operands", (cell) => node.inputs.forEach((input, k) => {
      if (node.operands[k]) links([input])(cell);
      else make("span", ` ${input} `, cell);
    }));
  }
  row("read by", node.readers.length ? links(node.readers) : "");
  row("kept", node.kept ? (cell) => node.kept.forEach((line) => make("div", line, cell)) : "");
}

function introduce() {
  told.replaceChildren();
  make("h2", graph.views[0].name, told);
  make("p", graph.summary, told);
  make("p", "A click on a step tells about it; a click on a module enters it. Drag to move, turn the wheel to zoom; "
    + "Escape leads back out.", told);
}

// --- what the user does ----------------------------------------------------------------------------------------------

let drag = null;
picture.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX - frame.x, y: event.clientY - frame.y, moved: false, box: event.target.closest(".box") };
  picture.setPointerCapture(event.pointerId);
});
picture.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const x = event.clientX - drag.x;
  const y = event.clientY - drag.y;
  if (Math.abs(x - frame.x) + Math.abs(y - frame.y) > 3) drag.moved = true;
  if (drag.moved) { frame.x = x; frame.y = y; place(); }
});
picture.addEventListener("pointerup", () => {
  const box = drag && !drag.moved ? drag.box : null;
  drag = null;
  if (!box) return;
  if (box.dataset.region !== undefined) show(current().inside[box.dataset.region]);
  else select(Number(box.dataset.node), false);
});
picture.addEventListener("pointercancel", () => { drag = null; });
picture.addEventListener("wheel", (event) => {
  event.preventDefault();
  const room = picture.getBoundingClientRect();
  const x = event.clientX - room.left;
  const y = event.clientY - room.top;
  const scale = Math.min(4, Math.max(0.05, frame.scale * Math.exp(-event.deltaY * 0.0015)));
  frame.x = x - ((x - frame.x) * scale) / frame.scale;
  frame.y = y - ((y - frame.y) * scale) / frame.scale;
  frame.scale = scale;
  place();
}, { passive: false });
wholeButton.addEventListener("click", () => show(shown === WHOLE ? 0 : WHOLE));
turn.addEventListener("click", () => {
  const forward = picture.classList.toggle("forward");
  picture.classList.toggle("backward", !forward);
  turn.setAttribute("aria-pressed", String(forward));
});
search.addEventListener("input", mark);
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const matches = [...mark()].map(Number).sort((a, b) => a - b);
  if (matches.length) select(matches.find((id) => selected !== null && id > selected) ?? matches[0], true);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape") {
    if (document.activeElement === search) search.blur();
    else if (shown === WHOLE) show(0);
    else if (graph.views[shown].parent !== null) show(graph.views[shown].parent);
  }
});
window.addEventListener("resize", place);

introduce();
show(0);
