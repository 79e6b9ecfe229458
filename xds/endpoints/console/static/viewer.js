// The viewer: which image and frame, its window, and how near.  Pictures are made by the server, which tells with
// each how many frames its instance has, and its window as stored; or why there is none.
"use strict";
const images = JSON.parse(document.getElementById("images").textContent);
const element = (id) => document.getElementById(id);
const [view, picture, reason, status, retry] = ["view", "picture", "reason", "status", "retry"].map(element);
const [place, frame, centre, width, zoom] = ["place", "frame", "centre", "width", "zoom"].map(element);
const DRAG = 300; // pixels of a drag that change the window by its own width
let chosen = null; // centre and width by hand; null: as stored
let stored = null; // those of the picture; null: not known, or in colour
let waiting = null;
let coming = null;
let wrong = "";

const image = () => images[place.value - 1];
const short = (number) => String(Number(number.toPrecision(5)));
const asked = (number) => Number(number.toFixed(Math.abs(number) < 10 ? 6 : 2));

function say() {
  const { frames, single, name } = image();
  const framed = frames > 1 || (!frames && !single) ? `, frame ${frame.value} of ${frames || "?"}` : "";
  const window_ = chosen || stored;
  const windowed = window_ ? `, window ${window_.map(short).join(" / ")}${chosen ? "" : " as stored"}` : "";
  const where = `Image ${place.value} of ${images.length} (${name})${framed}`;
  status.textContent = wrong ? `${where}: ${wrong}` : `${where}${windowed}, ${zoom.value} %`;
  picture.alt = where;
  picture.style.transform = `scale(${zoom.value / 100})`;
  element("framed").hidden = !(frames > 1);
  frame.max = Math.max(frames || 1, frame.value);
}

function range(values) {
  // The sliders reach over the pixels' values, and over the window where that is wider.
  const [middle, wide] = stored;
  const low = Math.min(values[0], middle - wide / 2), high = Math.max(values[1], middle + wide / 2);
  const step = high - low >= 200 ? 1 : (high - low) / 200 || 1;
  for (const [input, least, most] of [[centre, low, high], [width, step, Math.max(high - low, step)]]) {
    Object.assign(input, { min: least, max: most, step: "any" });
    input.dataset.step = step;
  }
}

function slide() {
  centre.disabled = width.disabled = !stored;
  if (stored) [centre.value, width.value] = chosen || stored;
}

function fail(text) {
  wrong = text;
  image().failed = true;
  reason.textContent = text;
  reason.hidden = retry.hidden = false;
  picture.hidden = true;
  say();
}

async function show() {
  if (coming) coming.abort();
  const mine = coming = new AbortController();
  const of = image(), at = Number(frame.value);
  const query = chosen ? `?window=${chosen.map(asked).join(",")},LINEAR` : "";
  wrong = "";
  say();
  try {
    const reply = await fetch(`${of.address}/frames/${at}/rendered${query}`,
      { headers: { Accept: "image/jpeg, application/json" }, signal: mine.signal });
    if (!reply.ok) {
      const told = await reply.json().catch(() => ({ text: "The server cannot show this now." }));
      if (mine === coming) fail(told.text);
      return;
    }
    const about = JSON.parse(reply.headers.get("Picture-About") || "{}");
    const data = await reply.blob();
    if (mine !== coming) return;
    of.frames = about.frames || of.frames || 1;
    stored = about.window || null;
    if (stored && about.values) range(about.values);
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(data);
    picture.hidden = false;
    reason.hidden = retry.hidden = true;
    slide();
    say();
  } catch (problem) {
    if (mine === coming && problem.name !== "AbortError") fail("This server does not answer.");
  }
}

function soon() {
  say();
  clearTimeout(waiting);
  waiting = setTimeout(show, 40);
}

function go(number, at) {
  place.value = number;
  frame.max = Math.max(image().frames || 1, 1);
  frame.value = Math.min(at, frame.max);
  soon();
}

function step(by) {
  // Frame by frame, then the next image; one whose frames are not counted yet is not passed over one by one.
  const { frames, single, failed } = image(), at = Number(frame.value) + by;
  if (Math.abs(by) === 1 && by > 0 && !frames && !single && !failed) return;
  if (at >= 1 && at <= (frames || 1)) go(place.value, at);
  else if (by > 0 && Number(place.value) < images.length) go(Number(place.value) + 1, 1);
  else if (by < 0 && Number(place.value) > 1) go(place.value - 1, images[place.value - 2].frames || 1);
  else go(place.value, by > 0 ? frames || 1 : 1);
}

function turn(across, down) {
  // The window by hand, beginning with that of the picture.
  if (!stored) return;
  const [middle, wide] = chosen || stored, unit = stored[1] / DRAG;
  chosen = [middle + down * unit, Math.max(wide + across * unit, unit)];
  slide();
  soon();
}

function asStored() {
  chosen = null;
  zoom.value = 100;
  show();
}

function near(by) {
  zoom.value = Number(zoom.value) + by;
  say();
}

place.addEventListener("input", () => go(place.value, 1));
frame.addEventListener("input", soon);
zoom.addEventListener("input", say);
for (const input of [centre, width]) {
  input.addEventListener("input", () => { chosen = [Number(centre.value), Number(width.value)]; soon(); });
  input.addEventListener("keydown", (event) => {
    // With step="any", so that a stored window is kept to the digit, browsers differ in what an arrow key does.
    const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (!by) return;
    event.preventDefault();
    input.value = Number(input.value) + by * input.dataset.step;
    input.dispatchEvent(new Event("input"));
  });
}
element("stored").addEventListener("click", asStored);
element("again").addEventListener("click", show);
view.addEventListener("dblclick", asStored);
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.ctrlKey) near(event.deltaY < 0 ? 10 : -10);
  else step(event.deltaY < 0 ? -1 : 1);
}, { passive: false });
view.addEventListener("pointermove", (event) => {
  if (event.buttons) turn(event.movementX, event.movementY);
});
view.addEventListener("keydown", (event) => {
  const keys = { ArrowDown: () => step(1), ArrowRight: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => step(-1),
    PageDown: () => step(10), PageUp: () => step(-10), "+": () => near(10), "-": () => near(-10), 0: asStored };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
show();
