"use strict";
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
