// The viewer: which frame, its window, and how near.  Pictures are made by the server.
"use strict";
const frames = JSON.parse(document.getElementById("frames").textContent);
const picture = document.getElementById("picture");
const view = document.getElementById("view");
const status = document.getElementById("status");
const [place, centre, width, zoom] = ["place", "centre", "width", "zoom"].map((id) => document.getElementById(id));
let windowed = false;
let waiting = null;

function show() {
  const frame = frames[place.value - 1];
  const query = windowed ? `?window=${centre.value},${width.value},LINEAR` : "";
  picture.src = `${frame.address}/rendered${query}`;
  picture.alt = `Image ${place.value} of ${frames.length}`;
  const window_ = windowed ? `window ${centre.value} / ${width.value}` : "window as stored";
  status.textContent = `Image ${place.value} of ${frames.length} (${frame.name}), ${window_}, ${zoom.value} %`;
  picture.style.transform = `scale(${zoom.value / 100})`;
}

function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(show, 40);
}

function move(input, by) {
  input.value = Number(input.value) + by;
  windowed = windowed || input === centre || input === width;
  soon();
}

place.addEventListener("input", soon);
zoom.addEventListener("input", soon);
for (const input of [centre, width]) {
  input.addEventListener("input", () => { windowed = true; soon(); });
}
document.getElementById("stored").addEventListener("click", () => { windowed = false; zoom.value = 100; show(); });
view.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.ctrlKey) move(zoom, event.deltaY < 0 ? 10 : -10);
  else move(place, event.deltaY < 0 ? -1 : 1);
}, { passive: false });
view.addEventListener("pointermove", (event) => {
  if (!event.buttons) return;
  move(width, event.movementX * 2);
  move(centre, event.movementY * 2);
});
view.addEventListener("keydown", (event) => {
  const keys = { ArrowDown: [place, 1], ArrowRight: [place, 1], ArrowUp: [place, -1], ArrowLeft: [place, -1],
    PageDown: [place, 10], PageUp: [place, -10], "+": [zoom, 10], "-": [zoom, -10] };
  if (!(event.key in keys)) return;
  event.preventDefault();
  move(...keys[event.key]);
});
picture.addEventListener("error", () => { status.textContent = "This instance has no picture."; });
show();
