// Pages work without this. With it: times on the viewer's clock, fresh numbers, keys to walk through conflicts.
"use strict";

const showTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
};
showTimes(document);

const seconds = Number(document.body.dataset.refresh || 0);
const refresh = async () => {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [fresh, shown] = [page.querySelector("main"), document.querySelector("main")];
  if (!fresh || shown.contains(document.activeElement)) return;
  showTimes(fresh);
  shown.replaceWith(fresh);
  const next = Number(page.body.dataset.refresh || seconds);
  if (next !== Number(document.body.dataset.refresh)) {
    document.body.dataset.refresh = next;
    clearInterval(timer);
    timer = setInterval(refresh, next * 1000);
  }
};
let timer = seconds ? setInterval(refresh, seconds * 1000) : undefined;

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=radio]), select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...document.querySelectorAll(".decisions .card")];
  const at = cards.findIndex((card) => card.contains(document.activeElement));
  const focus = (card) => {
    const target = card && (card.querySelector("input:checked") || card.querySelector("a, button"));
    if (target) { target.focus(); card.scrollIntoView({ block: "center" }); }
  };
  const choose = (word) => {
    const radio = at >= 0 && cards[at].querySelector(`input[type=radio][value="${word}"]`);
    if (radio) { radio.checked = true; radio.focus(); }
  };
  if (event.key === "j") focus(cards[Math.min(at + 1, cards.length - 1)]);
  else if (event.key === "k") focus(cards[Math.max(at - 1, 0)]);
  else if (event.key === "l") choose("left");
  else if (event.key === "r") choose("right");
  else return;
  event.preventDefault();
});
