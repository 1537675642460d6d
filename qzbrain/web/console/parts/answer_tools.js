// What can be done with an answer: copy it with its references, ask again elsewhere, say whether it was right; a wrong one is corrected beside the conversation.
import { ask, questionOf, rate } from "../core/conversation.js";
import { useWords } from "../core/i18n.js";
import { baseTitle, chosenBases, chosenModel, knowledgeBases, models } from "../core/lists.js";
import { correct } from "../core/pane.js";
import { useStore } from "../core/store.js";
import { html } from "../core/ui.js";
import { IconButton, Menu } from "./controls.js";
import { Icon } from "./icons.js";
import { notify, notifyError } from "./toasts.js";
import { modelName } from "./topbar.js";

export function AnswerTools({ message, onCopy }) {
  const words = useWords();
  const canRate = message.status === "complete" || message.status === "stopped";
  const give = async (rating) => {
    if (rating === "down") correct(message.id);
    try {
      await rate(message, rating);
    } catch (error) {
      notifyError(error);
    }
  };
  return html`<div class="tools">
    ${message.text && html`<${IconButton} icon="copy" label=${words("copy")} onClick=${() => copy(onCopy(), words)} />`}
    <${AgainMenu} message=${message} />
    ${canRate && html`<${IconButton} icon="up" label=${words("feedback.up")} pressed=${message.rating === "up"} onClick=${() => give("up")} />
      <${IconButton} icon="down" label=${words("feedback.down")} pressed=${message.rating === "down"} onClick=${() => give("down")} />`}
  </div>`;
}

async function copy(text, words) {
  try {
    await navigator.clipboard.writeText(text);
    notify(words("copied"));
  } catch {
    notify(words("copy.refused"));
  }
}

function AgainMenu({ message }) {
  const words = useWords();
  const { rows } = useStore(models);
  const bases = useStore(knowledgeBases).rows;
  const items = [
    { key: "same", label: words("again.same") },
    { heading: words("again.model") },
    ...rows.map((model) => ({ key: `model:${model.name}`, label: modelName(model.name, words), disabled: model.status !== "ready" })),
    { heading: words("again.bases") },
    { key: "base:", label: words("bases.all") },
    ...bases.map((base) => ({ key: `base:${base.id}`, label: baseTitle(base) })),
  ];
  const again = (key) => {
    const question = questionOf(message.id);
    if (!question) return;
    const choice = message.choice || { model: chosenModel.get(), knowledgeBases: chosenBases.get() };
    const [kind, value] = [key.split(":")[0], key.slice(key.indexOf(":") + 1)];
    if (kind === "model") ask(question.text, { ...choice, model: value });
    else if (kind === "base") ask(question.text, { ...choice, knowledgeBases: value ? [value] : [] });
    else ask(question.text, choice);
  };
  return html`<${Menu} label=${words("again")} items=${items} onPick=${again} align="start" className="up-menu"><${Icon} name="refresh" /><//>`;
}
