"use strict";
// "/" leads to the search, as on many sites.
const search = document.getElementById("filter") || document.getElementById("search");
if (search) {
  search.placeholder += " \u00a0 /";
  search.setAttribute("aria-keyshortcuts", "/");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
}
// Copy buttons: they are hidden where there is no script, or no clipboard.
if (navigator.clipboard) {
  const said = document.getElementById("said");
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.classList.add("done");
        said.textContent = "Copied";
      } catch {
        said.textContent = "The browser did not let it be copied";
      }
      setTimeout(() => {
        button.classList.remove("done");
        said.textContent = "";
      }, 2000);
    });
  }
}
