// Asks for a token once; the browser gets a cookie for it.
import { t, translate } from "./text.js";

/** What a header can carry. A token has nothing else; a keyboard of another script types something else. */
const PLAIN = /^[!-~]+$/;
/** A server that has not answered for so long is gone. */
const PATIENCE_MS = 10000;

/** Signs in; gives the key of what is wrong, if something is. */
async function signIn(token) {
  if (!PLAIN.test(token)) return "wrongToken";
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch("/session", { method: "POST", headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (response.ok) return null;
    return response.status === 401 ? "wrongToken" : "unreachable";
  } catch {
    return "unreachable";
  }
}

translate();
const form = document.getElementById("sign-in");
const problem = form.querySelector(".problem");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  const wrong = await signIn(form.elements.token.value.trim());
  if (!wrong) return location.reload();
  problem.textContent = t(wrong);
  problem.hidden = false;
});
