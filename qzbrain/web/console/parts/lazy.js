// Pages that are fetched when they are first opened, so that the first page stays small.
import { ApiError } from "../core/api.js";
import { t } from "../core/i18n.js";
import { html, useEffect, useState } from "../core/ui.js";
import { ErrorBox, Skeleton } from "./controls.js";

/** A component whose module `load()` fetches once. */
export function lazy(load) {
  let Loaded = null;
  return function Lazy(props) {
    const [error, setError] = useState(null);
    const [, redraw] = useState(0);
    const fetchIt = () => {
      setError(null);
      load().then((component) => {
        Loaded = component;
        redraw((n) => n + 1);
      }, () => setError(new ApiError(t("error.network"))));
    };
    useEffect(() => void (Loaded || fetchIt()), []);
    if (Loaded) return html`<${Loaded} ...${props} />`;
    return html`<div class="work page">${error ? html`<${ErrorBox} error=${error} onRetry=${fetchIt} />` : html`<div class="page-wide"><${Skeleton} lines=${8} /></div>`}</div>`;
  };
}
