// Every picture of the page: how strong its heatmap is, whether it is plain, whether boxes are drawn.
const fades = document.querySelectorAll('[data-act="fade"]'), plains = document.querySelectorAll('[data-act="plain"]');
function fade(value) {
  document.documentElement.style.setProperty("--blend", value / 100);
  for (const one of fades) one.value = value;
}
function plain(on) {
  document.documentElement.classList.toggle("plain-pictures", on);
  for (const one of plains) one.checked = on;
}
function boxes(on) {
  document.documentElement.classList.toggle("no-boxes", !on);
  for (const one of document.querySelectorAll('[data-act="boxes"]')) one.checked = on;
}
document.addEventListener("input", (event) => {
  const act = event.target.dataset.act;
  if (act === "fade") fade(event.target.value);
  if (act === "plain") plain(event.target.checked);
  if (act === "boxes") boxes(event.target.checked);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input[type="search"], input[type="text"], select, textarea')) return;
  if (event.key.toLowerCase() === "p") plain(!document.documentElement.classList.contains("plain-pictures"));
});

// Lightbox: a picture enlarged. The dialog keeps the focus and gives it back.
const box = document.getElementById("lightbox"), stage = box.querySelector(".stage");
let current = null;
function show(view) {
  current = view;
  const frames = Array.from(view.querySelectorAll(".frame"), (one) => one.cloneNode(true));
  for (const frame of frames) {
    const [width, height] = frame.style.aspectRatio.split("/").map(parseFloat);
    if (width) frame.style.width = `min(100%, ${(68 * width / height).toFixed(2)}vh)`;
  }
  stage.classList.toggle("two", frames.length > 1);
  stage.replaceChildren(...frames);
  document.getElementById("lightbox-title").textContent = view.dataset.title;
  document.getElementById("lightbox-details").textContent = view.dataset.details;
}
function step(by) {
  const views = Array.from(document.querySelectorAll(`.view[data-group="${CSS.escape(current.dataset.group)}"]`));
  show(views[(views.indexOf(current) + by + views.length) % views.length]);
}
document.addEventListener("click", (event) => {
  const view = event.target.closest(".view");
  if (view) { show(view); box.showModal(); }
});
box.addEventListener("click", (event) => {
  if (event.target === box) box.close();
  const act = event.target.dataset.act;
  if (act === "close") box.close();
  if (act === "previous") step(-1);
  if (act === "next") step(1);
});
box.addEventListener("keydown", (event) => {
  if (event.target.type === "range") return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
box.addEventListener("close", () => { if (current) current.focus(); });
