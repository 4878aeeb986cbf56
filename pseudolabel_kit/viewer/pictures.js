"use strict";
const $ = (id) => document.getElementById(id);
const { each, first, frame, grid, classes, layers, slices } = JSON.parse($("study").textContent);
const count = slices.length;
const canvas = $("picture");
const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)}%`);
const figure = (value) => (value === null ? "–" : value.toFixed(2));
const likeliest = (p) => (p === null ? -1 : p.indexOf(Math.max(...p)));
let at = -1;
let turn = 0;

// ── pictures: a sprite holds some slices below each other and is decoded when it is needed ──

const decoded = new Map();

function sprite(id) {
  if (!decoded.has(id)) {
    const image = new Image();
    image.src = `data:image/webp;base64,${$(id).textContent}`;
    decoded.set(id, image.decode().then(() => image));
  }
  return decoded.get(id);
}

function sheet(size) {
  const made = document.createElement("canvas");
  [made.height, made.width] = size;
  return made.getContext("2d", { willReadFrequently: true });
}

async function cut(name, slice, onto) {
  const image = await sprite(`${name}-${Math.floor(slice / each)}`);
  const { width, height } = onto.canvas;
  onto.clearRect(0, 0, width, height);
  onto.drawImage(image, 0, (slice % each) * height, width, height, 0, 0, width, height);
  return onto;
}

async function values(name, slice) {
  const onto = await cut(name, slice, sheet(grid));
  return onto.getImageData(0, 0, onto.canvas.width, onto.canvas.height);
}

// ── layers: maps are coloured, of masks the outline is drawn ──

function table(colours) {
  const stops = colours.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, value) => {
    const place = (value / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const mix = (i) => stops[low][i] + (place - low) * (stops[low + 1][i] - stops[low][i]);
    return [mix(0), mix(1), mix(2), 255 * Math.sqrt(value / 255)];
  });
}

async function coloured(layer, slice) {
  const pixels = await values(layer.id, slice);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data.set(layer.table[pixels.data[i]], i);
  }
  const onto = sheet(grid);
  onto.putImageData(pixels, 0, 0);
  return onto.canvas;
}

async function outlined(layer, slice) {
  const { data, width, height } = await values(layer.id, slice);
  const inside = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height && data[4 * (y * width + x)] > 127;
  const path = new Path2D();
  const line = (x, y, right, down) => { path.moveTo(x, y); path.lineTo(x + right, y + down); };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x - 1, y)) line(x, y, 0, 1);
      if (!inside(x + 1, y)) line(x + 1, y, 0, 1);
      if (!inside(x, y - 1)) line(x, y, 1, 0);
      if (!inside(x, y + 1)) line(x, y + 1, 1, 0);
    }
  }
  return path;
}

function drawing(layer, slice) {
  if (layer.slice !== slice) {
    layer.slice = slice;
    layer.drawing = layer.kind === "map" ? coloured(layer, slice) : outlined(layer, slice);
  }
  return layer.drawing;
}

// ── the canvas ──

const picture = sheet(frame);

async function draw() {
  const mine = ++turn;
  canvas.dataset.settled = false;
  const slice = at;
  const shown = layers.filter((layer) => layer.box.checked && layer.fade.value > 0);
  const drawings = await Promise.all([sprite(`picture-${Math.floor(slice / each)}`),
    ...shown.map((layer) => drawing(layer, slice))]);
  if (mine !== turn) return; // another slice or overlay was asked for meanwhile
  await cut("picture", slice, picture);
  if (mine !== turn) return;
  const paint = canvas.getContext("2d");
  const { width, height } = canvas;
  paint.imageSmoothingQuality = "high";
  paint.globalAlpha = 1;
  paint.clearRect(0, 0, width, height);
  paint.drawImage(picture.canvas, 0, 0, width, height);
  shown.forEach((layer, i) => {
    paint.globalAlpha = layer.fade.value / 100;
    if (layer.kind === "map") paint.drawImage(drawings[i + 1], 0, 0, width, height);
    else trace(paint, drawings[i + 1], layer.colours[0]);
  });
  canvas.dataset.settled = true;
}

function trace(paint, path, colour) {
  const scale = canvas.width / grid[1];
  const wide = (devicePixelRatio * 1.6) / scale;
  paint.save();
  paint.scale(scale, canvas.height / grid[0]);
  for (const [style, width] of [["rgb(0 0 0 / 0.55)", 2.2 * wide], [colour, wide]]) {
    paint.strokeStyle = style;
    paint.lineWidth = width;
    paint.stroke(path);
  }
  paint.restore();
}

function fit() {
  const { aspect } = slices[at]; // what was stretched to the frame goes back to its own shape
  const tallest = 0.8 * innerHeight * aspect;
  const room = Math.min(canvas.closest(".stage").clientWidth, tallest);
  const wide = Math.round(Math.max(room, 240) * devicePixelRatio);
  const high = Math.round(wide / aspect);
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.style.width = `${wide / devicePixelRatio}px`;
    canvas.width = wide;
    canvas.height = high;
  }
  draw();
}
