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
      set.className = "between";
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

// Marks: a button, or its key on the picture that has the focus or the pointer.
const cells = Array.from(document.querySelectorAll(".cell[data-key]")), dialog = document.getElementById("note");
const focusOf = (cell) => cell.querySelector(".view") || cell;
const imageOf = (cell) => ["image_id", "shard", "record_index"].map((name) => new URLSearchParams(cell.dataset.key).get(name)).join("\n");
let hovered = null;
for (const cell of cells) {
  cell.addEventListener("pointerenter", () => { hovered = cell; });
  cell.addEventListener("pointerleave", () => { hovered = null; });
}
async function mark(cell, name, there, note) {
  const body = new URLSearchParams({ key: cell.dataset.key, mark: name, there: there ? "yes" : "no", note: note ?? "", form: document.body.dataset.form });
  const answer = await fetch(`/${document.body.dataset.side}/review`, { method: "POST", body }).catch(() => null);
  const found = answer ? await answer.json() : { error: "the explorer does not answer" };
  said.textContent = found.error ? `Not marked: ${found.error}` : `${name.replaceAll("_", " ")} ${there ? "marked" : "taken away"}`;
  said.classList.toggle("sr", !found.error);
  if (found.error) return;
  for (const button of cell.querySelectorAll("[data-mark]")) button.setAttribute("aria-pressed", button.dataset.mark in found.marks);
  if (name === "label_wrong") { // it is about the image, whatever the map
    for (const other of cells) {
      if (imageOf(other) === imageOf(cell)) other.querySelector('[data-mark="label_wrong"]').setAttribute("aria-pressed", name in found.marks);
    }
  }
  const notes = Object.values(found.marks).filter(Boolean), noted = cell.querySelector(".noted");
  noted.textContent = notes.join("; ");
  noted.hidden = !notes.length;
}
function press(cell, button) {
  const there = button.getAttribute("aria-pressed") !== "true", name = button.dataset.mark;
  if (name !== "note") return mark(cell, name, there);
  const text = dialog.querySelector("textarea");
  text.value = cell.querySelector(".noted").textContent;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.onclose = () => {
    if (dialog.returnValue === "keep") mark(cell, "note", Boolean(text.value.trim()), text.value.trim());
    focusOf(cell).focus();
  };
  return null;
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-mark]");
  if (button) press(button.closest(".cell"), button);
});
document.addEventListener("keydown", (event) => {
  if (typing(event) || event.target.closest("dialog, [type=range]") || !cells.length) return;
  const at = cells.indexOf(document.activeElement.closest(".cell"));
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) {
    event.preventDefault();
    focusOf(cells[at < 0 ? 0 : Math.min(Math.max(at + step, 0), cells.length - 1)]).focus();
    return;
  }
  const cell = at < 0 ? hovered : cells[at], button = cell?.querySelector(`[title$=": key ${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) { event.preventDefault(); press(cell, button); }
});
