// The chat page: the conversation, the question box below it, the sources beside it.
import { conversation, open } from "../core/conversation.js";
import { useWords } from "../core/i18n.js";
import { baseTitle, chosenBases, knowledgeBases } from "../core/lists.js";
import { route } from "../core/router.js";
import { useStore } from "../core/store.js";
import { html, useEffect, useLayoutEffect, useRef } from "../core/ui.js";
import { Composer, draft } from "../parts/composer.js";
import { ErrorBox, Skeleton } from "../parts/controls.js";
import { Answer, Question } from "../parts/turn.js";

const NEAR_END_PX = 120;

export function ChatView({ onUpload }) {
  const { id } = useStore(route);
  const place = useStore(conversation);
  useEffect(() => void open(id), [id]);
  return html`<main class="work chat" id="main">
    ${place.state === "loading" && html`<div class="thread"><div class="column"><${Skeleton} lines=${8} /></div></div>`}
    ${place.state === "error" && html`<div class="thread"><div class="column"><${ErrorBox} error=${place.error} onRetry=${() => open(place.id)} /></div></div>`}
    ${place.state === "ready" && (place.messages.length ? html`<${Thread} messages=${place.messages} id=${place.id} />` : html`<${Welcome} onUpload=${onUpload} />`)}
    <${Composer} onUpload=${onUpload} />
  </main>`;
}

function Thread({ messages, id }) {
  const box = useRef(null);
  const isAtEnd = useRef(true);
  const count = useRef(0);
  useLayoutEffect(() => {
    isAtEnd.current = true;
    count.current = 0;
  }, [id]);
  useLayoutEffect(() => {
    const hasGrown = messages.length > count.current;
    count.current = messages.length;
    if (hasGrown || isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [messages]);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  };
  const last = messages.at(-1);
  return html`<div class="thread" ref=${box} onScroll=${onScroll} tabindex="-1">
    <div class="column">
      ${messages.map((message, at) => message.role === "user"
        ? html`<${Question} key=${`q${at}`} text=${message.text} />`
        : html`<${Answer} key=${`a${at}`} message=${message} isLast=${message === last} lang=${document.documentElement.lang} />`)}
    </div>
  </div>`;
}

function Welcome({ onUpload }) {
  const words = useWords();
  const { state, rows } = useStore(knowledgeBases);
  const chosen = useStore(chosenBases);
  const inUse = rows.filter((base) => !chosen.length || chosen.includes(base.id));
  const ready = inUse.reduce((sum, base) => sum + (base.documents?.ready ?? 0), 0);
  const hasLaws = inUse.some((base) => base.name === "laws");
  const pick = (text) => {
    draft.set(text);
    document.getElementById("question").focus();
  };
  return html`<div class="thread"><div class="column welcome">
    <h2>${words("welcome.title")}</h2>
    ${state === "ready" && (ready
      ? html`<p>${words("welcome.text", { names: inUse.map(baseTitle).join(words("list.comma")), n: ready })}</p>`
      : html`<p>${words("welcome.empty")}</p><p><button type="button" class="button primary" onClick=${onUpload}>${words("upload.files")}</button></p>`)}
    ${hasLaws && html`<ul class="examples" aria-label=${words("welcome.examples")}>
      ${["example.1", "example.2", "example.3"].map((key) => html`<li key=${key}><button type="button" onClick=${() => pick(words(key))}>${words(key)}</button></li>`)}
    </ul>`}
  </div></div>`;
}
