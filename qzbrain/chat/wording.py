"""The sentences that the brain itself says in and about an answer, in both languages. Data, not code."""

from __future__ import annotations

import re

from qzbrain.errors import Lang

Wording = dict[Lang, str]

BY_ENTRY: Wording = {
    "zh": "由人工整理的知识条目直接回答（问题匹配度 {sure:.2f}）。",
    "en": "Answered by a curated entry (its question matches with {sure:.2f}).",
}
BY_GRAPH: Wording = {
    "zh": "由知识图谱回答（可信度 {sure:.2f}），依据 {facts} 条事实；其中 {places} 处可在原文或事实文本中核对。",
    "en": "Answered from the knowledge graph (confidence {sure:.2f}) by {facts} facts; {places} of their sources can be read in a text.",
}
BY_MODEL: Wording = {"zh": "由语言模型 {model} 依据检索到的资料回答。", "en": "Answered by the language model {model} from the passages found."}
BARE_MODEL: Wording = {"zh": "由语言模型 {model} 直接回答，未检索知识库。", "en": "Answered by the language model {model} alone, without the knowledge base."}
OWN_KNOWLEDGE: Wording = {
    "zh": "知识库中没有足够的依据；该知识库允许由语言模型 {model} 凭自身知识回答，内容未经核对。",
    "en": "The knowledge base holds no sufficient evidence; it allows the language model {model} to answer from itself, unchecked.",
}
OWN_KNOWLEDGE_LABEL: Wording = {
    "zh": "（知识库中没有相关依据，以下为语言模型自身的回答，未经核对。）\n\n",
    "en": "(The knowledge base says nothing on this. What follows is the language model's own answer, unchecked.)\n\n",
}
EXTRACTIVE_CHOSEN: Wording = {"zh": "按要求以原文摘录作答。", "en": "Answered with sentences of the documents, as asked for."}
EXTRACTIVE_DEFAULT: Wording = {
    "zh": "没有配置可用的语言模型，以原文摘录作答。",
    "en": "No language model is configured or reachable; answered with sentences of the documents.",
}
EXTRACTIVE_INSTEAD: Wording = {"zh": "{why} 以下为原文摘录。", "en": "{why} Answered with sentences of the documents instead."}
EMPTY_ANSWER: Wording = {"zh": "语言模型 {model} 返回了空的回答。", "en": "The language model {model} returned an empty answer."}
BROKEN_OFF: Wording = {
    "zh": "\n\n（语言模型的回答在此处中断。以下为资料原文摘录。）\n\n",
    "en": "\n\n(The language model's answer broke off here. What follows are sentences of the documents.)\n\n",
}
PASSAGES: Wording = {"zh": "没有选出可以直接回答的句子，列出最相关的段落。", "en": "No sentence answers directly; these are the most relevant passages."}
REFUSED: Wording = {
    "zh": "知识库中没有找到足以回答这个问题的内容。可以换一种说法，或补充相关文档后再问。",
    "en": "The knowledge base does not say: nothing in it answers this question. Try other words, or add documents on the subject.",
}
REFUSED_REASON: Wording = {
    "zh": "依据的可信度 {confidence:.2f} 低于阈值 {threshold:.2f}，不作推测。",
    "en": "The evidence's confidence {confidence:.2f} is below the threshold {threshold:.2f}; the brain does not guess.",
}
REFUSED_EMPTY: Wording = {
    "zh": "没有可以检索的知识库，或其中没有任何匹配的内容。",
    "en": "There is no knowledge base to search, or nothing in it matches.",
}
SEARCH_AWAY: Wording = {
    "zh": "检索暂时不可用，没有能够查找全部资料，因此现在无法回答；这并不表示知识库中没有相关内容。请稍后再问，或告知管理员。",
    "en": "Search is unavailable just now, so not all of the documents could be looked through and there is no answer yet. "
    "That does not mean that they say nothing on this. Ask again in a moment, or tell the administrator.",
}
SEARCH_AWAY_REASON: Wording = {
    "zh": "检索索引暂不可用，原因见 degraded；没有据此判断知识库中有无依据。",
    "en": "The search index is not available, see `degraded`; whether the knowledge base holds evidence is not known.",
}
REFUSED_NO_MODEL: Wording = {
    "zh": "知识库中没有依据，语言模型也不可用：{why}",
    "en": "The knowledge base has no evidence, and the language model is away: {why}",
}
NO_MODEL: Wording = {
    "zh": "没有配置可用的语言模型。请在 config.toml 的 [models.名称] 中配置一个，或检查其引擎是否在运行。",
    "en": "No language model is configured or reachable. Configure one in config.toml as [models.NAME], or check that its engine runs.",
}
COURTESY_REASON: Wording = {"zh": "问候或致谢，无需依据。", "en": "A greeting or thanks; no evidence is needed."}
GREETING: Wording = {
    "zh": "您好！我会根据知识库中的文档回答问题，并注明出处。请直接提问。",
    "en": "Hello! I answer from the documents of the knowledge base and cite them. Ask away.",
}
THANKS: Wording = {"zh": "不客气！还有问题请随时提出。", "en": "You are welcome. Ask again any time."}
FAREWELL: Wording = {"zh": "再见！", "en": "Goodbye!"}
WITHHELD: Wording = {
    "zh": "（这条回答依据了您现在无权查看的内容，不予显示。如有需要，请联系知识库的管理者或重新提问。）",
    "en": "(This answer stands on something that you may not see, so it is not shown. Ask whoever manages the knowledge base, or ask the question again.)",
}

_END = r"[\s!！。.~～,，?？]*"
_GREETINGS = r"你好|您好|你们好|大家好|嗨|哈喽|哈啰|早上好|上午好|中午好|下午好|晚上好|早安|晚安|在吗|在不在|hello|hi|hey|good (?:morning|afternoon|evening)"
_THANKS = r"(?:非常|多|十分|太)?(?:谢谢|感谢|多谢|谢了)(?:你|您|啦|了|你的帮助|您的帮助)*|thanks?(?: you)?(?: (?:so|very) much| a lot)?|辛苦了"
_FAREWELLS = r"再见|拜拜|回头见|bye(?: ?bye)?|goodbye|see you"
_COURTESIES: tuple[tuple[re.Pattern[str], Wording], ...] = (
    (re.compile(rf"(?:{_GREETINGS})(?:[呀啊吗呢哦]| there)?{_END}(?:在吗)?{_END}", re.I), GREETING),
    (re.compile(rf"(?:(?:好的?|嗯|ok|okay)?{_END}(?:{_THANKS})){_END}", re.I), THANKS),
    (re.compile(rf"(?:{_FAREWELLS}){_END}", re.I), FAREWELL),
)


def courtesy(question: str) -> Wording | None:
    """The reply to a greeting, thanks or farewell; None when the question is anything more."""
    text = question.strip()
    return next((reply for pattern, reply in _COURTESIES if pattern.fullmatch(text)), None)
