// What HTML alone cannot do: fresh figures, ages, copying. The page works without it.
(() => {
  "use strict";
  const EVERY_MS = 5000;

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // Takes over the live parts of a fresh page, except one in which somebody is at work.
  async function refresh() {
    if (document.hidden) return;
    const answer = await fetch("/", { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!fresh.getElementById("head")) return location.reload();
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.replaceWith(document.importNode(other, true));
    }
    if (Boolean(fresh.getElementById("hub")) !== Boolean(document.getElementById("hub"))) location.assign("/");
  }
  setInterval(() => refresh().catch(() => document.body.classList.add("is-away")), EVERY_MS);

  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
})();
