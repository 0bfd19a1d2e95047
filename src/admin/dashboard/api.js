// The API as docs/admin.md says it. The token stays in this tab: no cookie, so no other page can use it.
import { byId } from "./dom.js";

const KEY = "weir-token";

/** What weir said about why it did not answer. */
export class Refused extends Error {
  constructor(status, error) {
    super(error.hint ? `${error.message} (${error.hint})` : error.message);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const forget = () => sessionStorage.removeItem(KEY);

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (hasToken()) headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.error ?? { message: `${path}: ${answer.status}` });
}

export const get = async (path) => (await ask(`/api/v1${path}`)).json();

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await ask(`/api/v1${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.json();
}

export const metrics = async () => (await ask("/metrics")).text();

/** `[ready?, why not]` */
export async function readiness() {
  const answer = await fetch("/readyz", { cache: "no-store" });
  return [answer.ok, (await answer.text()).trim()];
}

/** Asks for the token; resolves to whether one was given. */
export function signIn(why) {
  const [dialog, field] = [byId("login"), byId("token")];
  if (dialog.open) return Promise.resolve(false);
  byId("login-why").textContent = why ?? "";
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "ok" && field.value !== "";
      if (given) sessionStorage.setItem(KEY, field.value);
      field.value = "";
      resolve(given);
    }, { once: true });
  });
}
