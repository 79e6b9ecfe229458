// Dragging over the bars of the chart narrows the search to them; without it each bar is a link all the same.
"use strict";
(() => {
  const plot = document.querySelector("#chart .plot");
  const form = document.querySelector("form.search");
  if (!plot) return;
  const bars = [...plot.children];
  let first = -1, last = -1;

  const under = (event) => bars.indexOf(document.elementFromPoint(event.clientX, event.clientY)?.closest("#chart .plot > *"));
  const mark = () => bars.forEach((bar, n) =>
    bar.classList.toggle("chosen", first >= 0 && n >= Math.min(first, last) && n <= Math.max(first, last)));

  plot.addEventListener("dragstart", (event) => event.preventDefault());
  plot.addEventListener("pointerdown", (event) => { first = last = under(event); });
  plot.addEventListener("pointermove", (event) => {
    const at = under(event);
    if (first >= 0 && at >= 0) { last = at; mark(); }
  });
  addEventListener("pointerup", () => {
    const [begin, end] = [Math.min(first, last), Math.max(first, last)];
    first = last = -1;
    if (begin < 0 || begin === end) return mark();
    form.elements.since.value = bars[begin].dataset.since;
    form.elements.until.value = bars[end].dataset.until;
    form.requestSubmit();
  });
})();
