"use strict";
// The page's data, colors, and the tips of charts.

const byId = (id) => document.getElementById(id);
const records = JSON.parse(byId("page-data").textContent).layers;
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const number = (value) => value.toLocaleString("en-US");

const tip = byId("tip");
document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest?.(".chart [aria-label][aria-roledescription]");
  const text = mark?.matches("path") ? mark.getAttribute("aria-label") : "";
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${event.clientY + 16}px`;
});
