// Signals in the lightbox: the slices of a volume or a clip are stepped through
const scrub = document.querySelector(".scrub"), slider = scrub.querySelector("input"), place = scrub.querySelector("output");
function stepTo(at) {
  const player = stage.querySelector(".player");
  if (!player) return;
  player.style.setProperty("--at", at);
  for (const one of player.querySelectorAll("[data-from]")) one.style.display = at >= +one.dataset.from && at <= +one.dataset.to ? "" : "none";
  place.textContent = JSON.parse(player.dataset.labels)[at];
  slider.setAttribute("aria-valuetext", place.textContent);
}
new MutationObserver(() => {
  const player = stage.querySelector(".player");
  scrub.hidden = !player;
  if (!player) return;
  slider.max = JSON.parse(player.dataset.labels).length - 1;
  slider.value = player.dataset.start;
  stepTo(+slider.value);
}).observe(stage, { childList: true });
slider.addEventListener("input", () => stepTo(+slider.value));
