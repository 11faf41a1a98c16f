// Requests to the server, and the token that it may ask for.
import { $, message } from "./view.js";

/** Send a request, POST where there is a body, and return {ok, status, value}; value is the JSON of the response. */
export async function request(path, body, signal) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  if (response.status === 401) askForToken();
  return { ok: response.ok, status: response.status, value: await response.json() };
}

function askForToken() {
  $("token-error").textContent = sessionStorage.getItem("token") ? message("wrongToken") : "";
  if (!$("token-dialog").open) $("token-dialog").showModal();
}

/** Call a function each time the user has given a token. */
export function onToken(proceed) {
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", $("token").value.replace(/[^!-~]/g, ""));
    $("token").value = "";
    $("token-dialog").close();
    proceed();
  });
}
