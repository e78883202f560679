// What HTML alone cannot do: the CSRF header, live ages, copying, the countdown, keys. Every page works without it.
(() => {
  "use strict";
  const all = (selector, root = document) => root.querySelectorAll(selector);
  const visit = (selector) => document.querySelector(selector)?.click();

  document.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["X-CSRFToken"] = document.querySelector("meta[name=csrf-token]").content;
  });

  // A hidden page does not poll; a hub that does not answer is said so, and the next answer takes it back.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && !event.detail.requestConfig.triggeringEvent) event.preventDefault();
  });
  const offline = document.getElementById("offline");
  document.addEventListener("htmx:sendError", () => { offline.hidden = false; });
  document.addEventListener("htmx:timeout", () => { offline.hidden = false; });
  document.addEventListener("htmx:afterOnLoad", () => { offline.hidden = true; });
  document.addEventListener("htmx:responseError", (event) => {
    const words = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html").body.textContent.trim();
    const note = Object.assign(document.createElement("p"), { className: "notice problem", textContent: words });
    document.getElementById("flash").replaceChildren(note);
  });

  const ages = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  function count(seconds) {
    const [unit, size] = ages.find(([, size]) => seconds >= size);
    return `${Math.floor(seconds / size)} ${unit}`;
  }
  const age = (seconds) => (seconds < 5 ? "just now" : `${count(seconds)} ago`);
  const until = (seconds) => (seconds < 1 ? "any moment" : `in ${count(seconds)}`);
  function tick() {
    const now = Date.now();
    for (const time of all("time[data-ago], time[data-until]")) {
      const seconds = (now - Date.parse(time.dateTime)) / 1000;
      const text = "ago" in time.dataset ? age(seconds) : until(-seconds);
      if (time.textContent !== text) time.textContent = text;
    }
    for (const ring of all("[data-expires]")) {
      const seconds = Math.round((Date.parse(ring.dataset.expires) - now) / 1000);
      const left = Math.min(Math.max(0, seconds), ring.dataset.total);
      ring.querySelector(".left").setAttribute("stroke-dashoffset", 100 - (left / ring.dataset.total) * 100);
      ring.querySelector("[data-left]").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
    }
  }
  setInterval(tick, 1000);

  function wake(root) {
    for (const button of all("[data-copy]", root)) button.hidden = !navigator.clipboard;
    for (const field of all("[data-browser-zone]", root)) field.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    tick();
  }
  wake(document);
  let open = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    open = [...all("details[id][open]", event.detail.target)].map((details) => details.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    wake(document);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
    }
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // A file that the hub would refuse is not sent at all.
  document.addEventListener("change", (event) => {
    const { mostBytes, tooLarge } = event.target.dataset;
    if (!mostBytes) return;
    event.target.setCustomValidity([...event.target.files].some((file) => file.size > mostBytes) ? tooLarge : "");
    event.target.reportValidity();
  });

  let chord = 0;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of all("details.menu[open]")) menu.open = false;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog[open]")) return;
    const search = document.querySelector("[data-search]");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "?") {
      document.getElementById("keys").showModal();
    } else if (event.key === "g") {
      chord = Date.now();
    } else if ("[]".includes(event.key)) {
      visit(`[data-key="${event.key}"]`);
    } else if (Date.now() - chord < 1500 && /^[a-z]$/.test(event.key)) {
      visit(`[data-go="${event.key}"]`);
    }
  });
})();
