// Runs an exported model of pictures on ONNX Runtime Web. Pads as the toolkit does: by the mirror
// image on all sides alike, up to the model's multiple and minimum, and crops again.
"use strict";
const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };
const sessions = {};
let manifest;

// For each row (or column) of the padded picture, that of the picture which it repeats.
function mirrored(size, graph) {
  const padded = Math.ceil(Math.max(size, graph.minimum) / graph.multiple) * graph.multiple;
  const before = Math.floor((padded - size) / 2);
  const period = Math.max(1, 2 * (size - 1));
  const index = Array.from({ length: padded }, (_, k) => {
    const at = (((k - before) % period) + period) % period;
    return Math.min(at, period - at);
  });
  return { index: size === 1 ? index.fill(0) : index, before };
}

async function translate(image, direction) {
  const graph = manifest.generators[direction];
  const { width, height } = image;
  const rows = mirrored(height, graph), columns = mirrored(width, graph);
  const canvas = element("output");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const picture = context.getImageData(0, 0, width, height);
  const [h, w] = [rows.index.length, columns.index.length];
  const x = new Float32Array(3 * h * w);
  for (let c = 0, at = 0; c < 3; c++)
    for (const row of rows.index)
      for (const column of columns.index)
        x[at++] = picture.data[4 * (row * width + column) + c] / 127.5 - 1;
  const feeds = { x: new ort.Tensor("float32", x, [1, 3, h, w]) };
  if (graph.latent)
    feeds.z = new ort.Tensor("float32", new Float32Array(graph.latent), [1, graph.latent]);
  sessions[direction] ??= await ort.InferenceSession.create(graph.file);
  const y = (await sessions[direction].run(feeds)).y.data;
  for (let c = 0; c < 3; c++)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        const value = y[(c * h + row + rows.before) * w + column + columns.before];
        picture.data[4 * (row * width + column) + c] = Math.round((value + 1) * 127.5);
      }
  context.putImageData(picture, 0, 0);
}

async function run() {
  const file = element("file").files[0];
  if (!file) return;
  say("Translating…");
  try {
    await translate(await createImageBitmap(file), element("direction").value);
    say("Done.");
  } catch (error) {
    say(`This did not work: ${error.message}`);
  }
}

async function start() {
  if (typeof ort === "undefined") {
    say("ort.wasm.min.js is missing: copy it and its .wasm and .mjs here; see README.txt.");
    return;
  }
  ort.env.wasm.numThreads = 1;  // more need headers that not every server sends
  manifest = await (await fetch("export.json")).json();
  const { a, b } = manifest.model.domains;
  element("title").textContent = manifest.name;
  for (const way of Object.keys(manifest.generators))
    element("direction").add(new Option(way === "a2b" ? `${a} → ${b}` : `${b} → ${a}`, way));
  element("file").addEventListener("change", run);
  element("direction").addEventListener("change", run);
  say("Choose a picture.");
  if (element("file").files.length) run();
}

start().catch((error) => say(`This did not work: ${error.message}`));
