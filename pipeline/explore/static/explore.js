// The explorer without a script is links and forms; this adds the slider, keys, ranges, copying and signals.
const root = document.documentElement, said = document.getElementById("said");

// How strong heat is, whether pictures are plain and boxes drawn: as in the report, and kept from page to page.
const acts = {
  fade: (one) => { root.style.setProperty("--blend", one.value / 100); return one.value; },
  boxes: (one) => { root.classList.toggle("no-boxes", !one.checked); return one.checked; },
  plain: (one) => { root.classList.toggle("plain-pictures", one.checked); return one.checked; },
};
function act(one) { sessionStorage.setItem(one.dataset.act, acts[one.dataset.act](one)); }
for (const one of document.querySelectorAll(".looks [data-act]")) {
  const kept = sessionStorage.getItem(one.dataset.act);
  if (kept !== null && one.type === "range") one.value = kept;
  if (kept !== null && one.type === "checkbox") one.checked = kept === "true";
  act(one);
  one.addEventListener("input", () => act(one));
}

const typing = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input:not([type="range"], [type="checkbox"]), select, textarea');
document.addEventListener("keydown", (event) => {
  const plain = document.querySelector('[data-act="plain"]');
  if (event.key.toLowerCase() !== "p" || typing(event) || !plain) return;
  plain.checked = !plain.checked;
  act(plain);
});

// A form sends only what says something, so that the address is short.
for (const form of document.querySelectorAll(".choose form")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (value === "" || (name === "order" && value === "asc")) event.formData.delete(name);
  });
}

// On a narrow screen the pictures come first.
const choose = document.getElementById("choose");
if (choose && matchMedia("(max-width: 40rem)").matches) choose.open = false;

const add = document.getElementById("add-range");
if (add) {
  add.addEventListener("change", () => {
    const name = add.value, there = document.getElementsByName(`min.${name}`)[0];
    if (!name) return;
    if (!there) {
      const set = document.createElement("fieldset"), legend = document.createElement("legend");
      set.className = "range";
      legend.textContent = name.replaceAll("_", " ");
      set.append(legend);
      for (const [end, word] of [["min", "from"], ["max", "to"]]) {
        const label = document.createElement("label"), input = document.createElement("input");
        Object.assign(input, { name: `${end}.${name}`, size: 7 });
        input.inputMode = "decimal";
        label.append(`${word} `, input);
        set.append(label);
      }
      document.getElementById("ranges").append(set);
    }
    document.getElementsByName(`min.${name}`)[0].focus();
    add.value = "";
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  said.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

// Signals come as pieces of a page whose styles are set here: no style may stand in the markup.
for (const place of document.querySelectorAll("[data-fetch]")) {
  fetch(place.dataset.fetch).then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status))).then((text) => {
    const parsed = new DOMParser().parseFromString(text, "text/html");
    const signal = parsed.body.firstElementChild;
    for (const one of [signal, ...signal.querySelectorAll("[data-style]")]) if (one.dataset.style) one.style.cssText = one.dataset.style;
    place.replaceChildren(document.adoptNode(signal));
  }).catch(() => {});
}
