"use strict";
// "/" leads to the search, as on many sites.
const search = document.getElementById("filter") || document.getElementById("search");
if (search) {
  if (matchMedia("(hover: hover)").matches) search.placeholder += " (press /)";
  search.setAttribute("aria-keyshortcuts", "/");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
}
// Copy buttons: they are hidden where there is no script.
const said = document.getElementById("said");

// Browsers have a clipboard for pages with TLS, and of this machine, alone.
const copy = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error();
};

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await copy(button.dataset.copy);
      button.classList.add("done");
      said.textContent = "Copied";
    } catch {
      said.textContent = "The browser did not let it be copied";
    }
    button.focus();
    setTimeout(() => {
      button.classList.remove("done");
      said.textContent = "";
    }, 2000);
  });
}
