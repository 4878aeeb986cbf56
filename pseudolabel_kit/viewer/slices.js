// ── the strip chart and the table ──

const across = (i) => (count > 1 ? (100 * (i + 0.5)) / count : 50);
const most = Math.max(1e-6, ...slices.map((told) => Math.max(told.lesion ?? 0, told.truth ?? 0)));

function curve(key, top, bottom, full) {
  let pen = "M";
  return slices.map((told, i) => {
    if (told[key] === null) { pen = "M"; return ""; }
    const alone = pen === "M" && (slices[i + 1]?.[key] ?? null) === null;
    const step = `${pen}${across(i)} ${bottom - ((bottom - top) * told[key]) / full}`;
    pen = "L";
    return alone ? `${step}h0.4` : step;
  }).join("");
}

function chart() {
  const floor = $("insides") ? 17 : 34;
  const bars = slices.map((told, i) => {
    const tall = ((floor - 2) * (told.lesion ?? 0)) / most;
    return `M${(100 * i) / count} ${floor}h${100 / count}v${-tall}h${-100 / count}z`;
  });
  if ($("lesions")) $("lesions").setAttribute("d", bars.join(""));
  if ($("most")) $("most").textContent = share(most);
  if ($("truths")) $("truths").setAttribute("d", curve("truth", 2, floor, most));
  for (const key of $("insides") ? ["inside", "overlap"] : []) {
    $(`${key}s`).setAttribute("d", curve(key, 21, 34.5, 1));
  }
  $("strips").querySelector("svg").addEventListener("click", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    go(Math.floor((count * (event.clientX - box.left)) / box.width));
  });
}

const body = $("table").tBodies[0];
const keys = [...document.querySelectorAll("#table thead button")].map((b) => b.dataset.key);
const cells = {
  slice: (told, i) => i + 1,
  class: (told) => (told.probabilities ? classes[likeliest(told.probabilities)] : "–"),
  label: (told) => told.label ?? "–",
  lesion: (told) => share(told.lesion),
  truth: (told) => share(told.truth),
};
const ranks = { slice: (told, i) => i, class: cells.class };
const largestFirst = ["lesion", "truth"]; // of the others, what is least comes first

function rows() {
  slices.forEach((told, i) => {
    const row = body.insertRow();
    row.dataset.slice = i;
    for (const key of keys) {
      const text = cells[key] ? cells[key](told, i) : figure(told[key]);
      const cell = row.appendChild(document.createElement(key === "slice" ? "th" : "td"));
      if (key !== "slice") { cell.textContent = text; continue; }
      cell.scope = "row";
      const button = cell.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", `Slice ${text}`);
      if (told.title) cell.append(` ${told.title}`);
    }
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) go(Number(row.dataset.slice));
  });
}

function sort(button) {
  const { key } = button.dataset;
  const head = button.closest("th");
  const before = head.getAttribute("aria-sort");
  const up = before === "none" ? !largestFirst.includes(key) : before === "descending";
  for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const values = slices.map((told, i) => (ranks[key] ? ranks[key](told, i) : told[key]));
  const order = (a, b) => {
    const [one, two] = [values[a], values[b]];
    if (one === null || two === null) return (one === null) - (two === null) || a - b; // last
    if (one === two) return a - b;
    return one < two === up ? -1 : 1;
  };
  const byslice = new Map([...body.rows].map((row) => [Number(row.dataset.slice), row]));
  body.append(...[...values.keys()].sort(order).map((i) => byslice.get(i)));
  mark();
}

function mark() {
  for (const row of body.rows) {
    const current = Number(row.dataset.slice) === at;
    row.removeAttribute("aria-current");
    if (!current) continue;
    row.setAttribute("aria-current", "true");
    const box = body.closest(".tall");
    const top = row.offsetTop - box.querySelector("thead").offsetHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = row.offsetTop + row.offsetHeight - box.clientHeight;
    }
  }
  $("cursor").setAttribute("d", `M${across(at)} 0V36`);
}
