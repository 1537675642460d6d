// HTTP calls to the brain's own API. Every failure becomes an ApiError that says what to show, with the request id.
import { lang, t } from "./i18n.js";

export class ApiError extends Error {
  constructor(message, { status = 0, code = "network", requestId = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId });
  }
}

let signedOut = () => {};

/** Have `call` run when the server says that nobody is signed in (any more). */
export function whenSignedOut(call) {
  signedOut = call;
}

const acceptLanguage = () => (lang.get() === "en" ? "en" : "zh-CN");

function failure(status, body, requestId) {
  const error = body?.error;
  if (status === 401 && error?.code === "authentication_required") signedOut();
  return new ApiError(error?.message || t("error.http", { status }), { status, code: error?.code || "http", requestId: requestId || "" });
}

/** JSON of the reply (null for 204). `path` begins with `/api`. Throws ApiError. */
export async function request(method, path, body) {
  const headers = { "Accept-Language": acceptLanguage() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(t("error.network"));
  }
  const text = await reply.text();
  const parsed = parse(text);
  if (!reply.ok) throw failure(reply.status, parsed, reply.headers.get("X-Request-Id"));
  return parsed;
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

export const get = (path) => request("GET", path);
export const post = (path, body = {}) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path, body) => request("DELETE", path, body);

/** All rows of a list, page after page, at most `most`. */
export async function all(path, most = 2000) {
  const rows = [];
  let after = null;
  do {
    const glue = path.includes("?") ? "&" : "?";
    const page = await get(`${path}${glue}limit=100${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    rows.push(...page.data);
    after = page.has_more ? page.next : null;
  } while (after && rows.length < most);
  return rows;
}

/** A file of the API as a Blob. Throws ApiError. */
export async function blob(path) {
  let reply;
  try {
    reply = await fetch(path, { headers: { "Accept-Language": acceptLanguage() } });
  } catch {
    throw new ApiError(t("error.network"));
  }
  if (!reply.ok) throw failure(reply.status, parse(await reply.text()), reply.headers.get("X-Request-Id"));
  return reply.blob();
}

/** Send one file to a knowledge base; resolves with the reply's rows. */
export const upload = (kb, file, onProgress) => sendFile(`/api/knowledge-bases/${encodeURIComponent(kb)}/documents`, file, onProgress).then((body) => body.data);

/** Send one file; `onProgress` gets 0..1 while bytes go out. Resolves with the reply. XMLHttpRequest, because fetch tells no upload progress. */
export function sendFile(path, file, onProgress) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file, file.name);
    const sender = new XMLHttpRequest();
    sender.open("POST", path);
    sender.setRequestHeader("Accept-Language", acceptLanguage());
    sender.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    sender.onerror = () => reject(new ApiError(t("error.network")));
    sender.onload = () => {
      const body = parse(sender.responseText);
      if (sender.status < 300 && body) resolve(body);
      else reject(failure(sender.status, body, sender.getResponseHeader("X-Request-Id")));
    };
    sender.send(form);
  });
}
