// ── what is told of a slice ──

function go(slice) {
  const next = Math.max(0, Math.min(count - 1, slice));
  if (next === at) return;
  at = next;
  const told = slices[at];
  $("slice").value = at + 1;
  $("number").value = `${at + 1} / ${count}`;
  $("said").textContent = said(told);
  bars(told);
  for (const layer of layers) layer.small.textContent = note(layer, told);
  mark();
  fit();
}

function said(told) {
  const best = likeliest(told.probabilities);
  const parts = [`Slice ${at + 1} of ${count}`, told.title];
  if (best >= 0) parts.push(`${classes[best]} ${share(told.probabilities[best])}`);
  if (told.lesion !== null) parts.push(`lesion ${share(told.lesion)}`);
  return parts.filter(Boolean).join(" · ");
}

function bars(told) {
  document.querySelectorAll(".classes li").forEach((item, i) => {
    const value = told.probabilities[i];
    item.classList.toggle("likeliest", i === likeliest(told.probabilities));
    item.querySelector("i").style.width = `${100 * value}%`;
    item.querySelector("b").textContent = `${Math.round(100 * value)}%`;
  });
  if ($("label")) $("label").textContent = told.label ?? "not known";
}

function note(layer, told) {
  if (layer.name === "mask") return `${share(told.lesion)} of the image`;
  if (layer.name === "label") return `teaches ${share(told.taught)} of the pixels`;
  if (layer.name === "truth") {
    if (told.truth === null) return "not known of this slice";
    const dice = told.lesion === null ? "" : ` · Dice ${figure(told.dice)}`;
    return `${share(told.truth)} of the image${dice}`;
  }
  if (told.lesion === null || layer.name === "decoder") return "";
  const [inside, overlap] = told.maps[layer.name.slice("evidence/".length)] ?? [null, null];
  return `inside ${figure(inside)} · overlap ${figure(overlap)}`;
}

// ── overlays, keys, wheel ──

function switched(layer) {
  layer.box.checked = !layer.box.checked;
  draw();
}

let hidden = [];

function hide() {
  const on = layers.filter((layer) => layer.box.checked);
  for (const layer of on.length ? on : hidden) layer.box.checked = !on.length;
  if (on.length) hidden = on;
  draw();
}

function fade(by) {
  for (const { box, fade } of layers) if (box.checked) fade.value = Number(fade.value) + by;
  draw();
}

const moves = {
  ArrowLeft: () => at - 1, ArrowUp: () => at - 1, k: () => at - 1, PageUp: () => at - 10,
  ArrowRight: () => at + 1, ArrowDown: () => at + 1, j: () => at + 1, PageDown: () => at + 10,
  Home: () => 0, End: () => count - 1,
};
const others = {
  0: hide, "[": () => fade(-10), "]": () => fade(10), "?": () => $("help").showModal(),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  // A fader keeps the keys that move it, and a scrolled table those that scroll it.
  const own = event.target.matches(".fade, .tall") && event.key.length > 1;
  const layer = layers[Number(event.key) - 1];
  if (own) return;
  if (event.key in moves) go(moves[event.key]());
  else if (event.key in others) others[event.key]();
  else if (layer) switched(layer);
  else return;
  event.preventDefault();
}

layers.forEach((layer, i) => {
  const item = document.querySelectorAll(".layer")[i];
  layer.id = `layer${i}`;
  layer.box = item.querySelector("input[type=checkbox]");
  layer.fade = item.querySelector(".fade");
  layer.small = item.querySelector("small");
  layer.table = layer.kind === "map" ? table(layer.colours) : null;
  item.querySelector(".ramp").style.background =
    layer.kind === "map" ? `linear-gradient(to right, ${layer.colours})` : layer.colours[0];
  layer.box.addEventListener("change", draw);
  layer.fade.addEventListener("input", draw);
});
$("slice").addEventListener("input", (event) => go(event.target.value - 1));
$("ask").addEventListener("click", () => $("help").showModal());
document.addEventListener("keydown", pressed);
canvas.addEventListener("wheel", (event) => {
  if (event.ctrlKey || !event.deltaY) return; // a pinch enlarges the page
  event.preventDefault();
  go(at + Math.sign(event.deltaY));
}, { passive: false });
addEventListener("resize", fit);
rows();
chart();
document.querySelectorAll("#table thead button").forEach((button) => {
  button.addEventListener("click", () => sort(button));
});
go(first);
