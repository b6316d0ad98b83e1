// Curves: a name in a legend hides and shows its lines in every figure.
for (const button of document.querySelectorAll(".toggle")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") === "false", key = button.dataset.key;
    for (const one of document.querySelectorAll(`#curves [data-key="${key}"]`)) {
      if (one.matches(".toggle")) one.setAttribute("aria-pressed", shown);
      else one.classList.toggle("off", !shown);
    }
  });
}
