// What is shown to who is not signed in: sign-in, the first administrator, a password by a one-time link, a password that must be changed.
import { post } from "../core/api.js";
import { lang, useWords } from "../core/i18n.js";
import { theme } from "../core/lists.js";
import { route } from "../core/router.js";
import { session, signOut } from "../core/session.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { ErrorBox, Menu } from "../parts/controls.js";
import { Icon } from "../parts/icons.js";

export function Gate({ view }) {
  const words = useWords();
  const { signed_in: isSignedIn, must_change: mustChange, setup_needed: setupNeeded } = useStore(session);
  const form = view === "setup" ? html`<${SetUp} />` : view === "password" ? html`<${ByLink} />` : isSignedIn && mustChange ? html`<${MustChange} />` : html`<${SignIn} setupNeeded=${setupNeeded} />`;
  useEffect(() => {
    document.title = words("brand");
  });
  return html`<main class="gate" id="main"><div class="gate-box">
    <p class="gate-brand"><img src=${new URL("../icon.svg", import.meta.url).href} alt="" width="32" height="32" />${words("brand")}</p>
    ${form}
    <div class="gate-foot"><${Languages} /><${Themes} /></div>
  </div></main>`;
}

function Languages() {
  const words = useWords();
  const items = [{ key: "zh", label: "中文", checked: lang.get() === "zh" }, { key: "en", label: "English", checked: lang.get() === "en" }];
  return html`<${Menu} label=${words("language")} items=${items} onPick=${lang.set}><${Icon} name="globe" /><//>`;
}

function Themes() {
  const words = useWords();
  const chosen = useStore(theme);
  const items = ["system", "light", "dark"].map((key) => ({ key, label: words(`theme.${key}`), checked: chosen === key }));
  return html`<${Menu} label=${words("theme")} items=${items} onPick=${theme.set}><${Icon} name="contrast" /><//>`;
}

/** A form that sends its fields and shows what went wrong; `send(fields)` returns a promise. */
function Sending({ title, action, send, children, notice }) {
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const box = useRef(null);
  useEffect(() => box.current.querySelector("input:not([type=hidden])")?.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await send(Object.fromEntries(new FormData(event.target)));
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return html`<form ref=${box} onSubmit=${submit}>
    <h1>${title}</h1>
    ${notice && html`<p class="field-hint">${notice}</p>`}
    ${children}
    ${error && html`<${ErrorBox} error=${error} />`}
    <button class="button primary" disabled=${isBusy}>${action}</button>
  </form>`;
}

const Name = ({ words }) => html`<label class="field">${words("gate.name")}<input name="username" autocomplete="username" autocapitalize="none" spellcheck=${false} maxlength="200" required /></label>`;

const Password = ({ label, name = "password", fresh = false }) =>
  html`<label class="field">${label}<input type="password" name=${name} autocomplete=${fresh ? "new-password" : "current-password"} maxlength="1000" required /></label>`;

/** Why an identity provider's sign-in did not succeed, as the address says. */
const FAILURES = ["account_disabled", "name_is_local", "provider_away", "sign_in_not_begun"];

function SignIn({ setupNeeded }) {
  const words = useWords();
  const { expired, oidc } = useStore(session);
  const { query } = useStore(route);
  const [needsCode, setNeedsCode] = useState(false);
  const send = async ({ username, password, totp = "" }) => {
    try {
      await post("/api/session", { username, password, ...(totp.trim() && { totp: totp.trim() }) });
    } catch (error) {
      if (error.code === "totp_required") return setNeedsCode(true);
      throw error;
    }
    location.reload(); // the page begins anew, as the user who is signed in now
    return undefined;
  };
  const failed = query.get("failed");
  const notice = setupNeeded ? words("gate.setupNeeded") : expired ? words("gate.expired") : "";
  return html`<${Sending} title=${words("gate.signIn")} action=${words("gate.signIn")} send=${send} notice=${notice}>
    ${failed && html`<${ErrorBox} error=${{ message: FAILURES.includes(failed) ? words(`failed.${failed}`) : words("gate.failed") }} />`}
    ${oidc && html`<p class="gate-elsewhere"><a class="button" href="/api/session/oidc">${words("gate.oidc")}</a></p>`}
    <${Name} words=${words} /><${Password} label=${words("gate.password")} />
    ${needsCode && html`<${Code} words=${words} />`}
  <//>`;
}

function Code({ words }) {
  const box = useRef(null);
  useEffect(() => box.current.focus(), []);
  return html`<label class="field">${words("gate.code")}<input ref=${box} name="totp" inputmode="numeric" autocomplete="one-time-code" maxlength="40" required />
    <span class="field-hint">${words("gate.codeHint")}</span></label>`;
}

const token = () => route.get().query.get("token") || "";

function SetUp() {
  const words = useWords();
  const send = async ({ username, password, again }) => {
    requireSame(password, again, words);
    await post("/api/setup", { token: token(), username, password });
    location.assign("/");
  };
  return html`<${Sending} title=${words("gate.setup")} action=${words("gate.setupDo")} send=${send} notice=${words("gate.setupNotice")}>
    <${Name} words=${words} /><${Chosen} words=${words} />
  <//>`;
}

function ByLink() {
  const words = useWords();
  const [done, setDone] = useState("");
  const send = async ({ password, again }) => {
    requireSame(password, again, words);
    setDone((await post("/api/session/link", { token: token(), password })).username);
  };
  if (done) return html`<div class="shown-once" role="status"><p>${words("gate.chosen", { name: done })}</p><a class="button primary" href="/">${words("gate.signIn")}</a></div>`;
  return html`<${Sending} title=${words("gate.choose")} action=${words("save")} send=${send}><${Chosen} words=${words} /><//>`;
}

function MustChange() {
  const words = useWords();
  const send = async ({ old, password, again }) => {
    requireSame(password, again, words);
    await post("/api/session/password", { old, new: password });
    location.reload();
  };
  return html`<${Sending} title=${words("gate.choose")} action=${words("save")} send=${send} notice=${words("gate.mustChange")}>
      <${Password} label=${words("account.old")} name="old" /><${Chosen} words=${words} />
    <//>
    <p><button type="button" class="button" onClick=${() => signOut()}>${words("account.signOut")}</button></p>`;
}

const Chosen = ({ words }) => html`<${Password} label=${words("account.new")} fresh /><${Password} label=${words("account.again")} name="again" fresh />
  <p class="field-hint">${words("account.rules")}</p>`;

/** Throws what the form shows when both are not the same. */
export function requireSame(password, again, words) {
  if (password !== again) throw new Error(words("account.notSame"));
}
