// Asks for a token once; the browser gets a cookie for it.
import { t, translate } from "./text.js";

translate();
const form = document.getElementById("sign-in");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = form.elements.token.value.trim();
  const response = await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  if (response.ok) return location.reload();
  const problem = form.querySelector(".problem");
  problem.textContent = t("wrongToken");
  problem.hidden = false;
});
