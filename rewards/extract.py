"""The final answer of a completion, found in one linear pass.

What follows the last closing tag of thinking counts, `</think>` or another family's (an answer inside the thinking
alone is none): the boxed answer; else what stands in `<answer>` tags; else what follows "final answer", "answer is" (in
English or one of nine other languages) or GSM8K's "####"; else, only where the task allows it, the last number.
"""

import re

OPEN, CLOSE = "<think>", "</think>"
THINKING = (  # opening and closing tags of many models
    (OPEN, CLOSE),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
BOX = re.compile(r"\\{1,4}(?:boxed|fbox)\s*(?:(\{)|([0-9A-Za-z])(?![0-9A-Za-z])|(\d+))|\\.|[{}]", re.DOTALL)
TAG = re.compile(r"</?answer>", re.I)
ANNOUNCEMENTS = (
    r"final\s+answer|answer\s+is|answer\s*[:：]|^####",
    r"最[终終][答][案]|答案\s*(?:应?[该為为是]+|等[于於]|[:：])|答\s*[:：]|答え\s*(?:は|[:：])|(?:정답|답)\s*(?:은|[:：])",
    r"故选|结果\s*(?:应?[该為为是]+|等[于於]|[:：])",
    r"r[ée]sultat(?:\s+final)?\s*(?:est\b|[:：])(?:\s+(?:donc|alors)\b)?|la\s+solution\s+est\b",
    r"resultado(?:\s+final)?\s*(?:es\b|é\b|[:：])|la\s+solución\s+es\b|risultato(?:\s+finale)?\s*(?:è\b|[:：])",
    r"(?:результат|итого)\s*(?:[:：—–-]|равен\b)",
    r"r[ée]ponse(?:\s+finale)?\s*(?:est\b|[:：])(?:\s+(?:donc|alors)\b)?",
    r"(?:antwort|endergebnis|ergebnis|lösung)\s*(?:ist\b|lautet\b|beträgt\b|[:：])(?:\s+(?:also|somit)\b)?",
    r"(?:ist|lautet)\s+die\s+(?:\w+\s+)?antwort\b",
    r"respuesta(?:\s+\w+)?\s*(?:es\b|[:：])|resposta(?:\s+final)?\s*(?:é\b|[:：])",
    r"risposta(?:\s+finale)?\s*(?:è\b|[:：])",
    r"ответ\s*(?:[:：—–-]|равен\b|равна\b|равно\b|это\b|будет\b)",
)
PHRASE = re.compile(rf"(?:{'|'.join(ANNOUNCEMENTS)})[\s*_]*(?:[:：]|is\b|=)?[\s*_:：]*", re.I | re.M)
COPULA = re.compile(r" (?:is|est|ist|lautet|beträgt|es|é|è|равен|равна|равно) |[是为為]")
POLITE_END = re.compile(r"(?<!\s)\s*+(?:です|である|입니다|이다)$")
MATH = re.compile(r"\s*(?:\$\$(.+?)\$\$|\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\])", re.DOTALL)
SENTENCE_END = re.compile(r"(?<!\bRs)(?<!\bapprox)[.!?](?=\s|$)|[。！？]|\n")
NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|-?\.\d+")


def after_thinking(completion: str) -> str | None:
    """What follows the last closing tag of thinking; None while the thinking has not ended."""
    end = 0
    for begin, close in THINKING:
        last_close = completion.rfind(close)
        if completion.rfind(begin) > last_close:
            return None
        if last_close >= 0:
            end = max(end, last_close + len(close))
    return completion[end:]


def opened_thinking(prompt: str) -> str:
    """The opening tag that the prompt ends with, as in some chat templates; else "". One in a message is none."""
    end = prompt.rstrip()
    return next((begin for begin, _ in THINKING if end.endswith(begin)), "")


def boxed(text: str) -> list[str]:
    """Contents of every outermost, closed `\\boxed{...}`, in order."""
    spans: list[tuple[int, int]] = []
    stack: list[int] = []  # for each open brace: where its box's content starts, or -1
    for match in BOX.finditer(text):
        token = match.group()
        if match.group(1):
            stack.append(match.end())
        elif match.group(2) or match.group(3):
            spans.append(match.span(2) if match.group(2) else match.span(3))
        elif token == "{":
            stack.append(-1)
        elif token == "}" and stack:
            start = stack.pop()
            if start >= 0:
                while spans and spans[-1][0] >= start:  # boxes inside this one
                    spans.pop()
                spans.append((start, match.start()))
    return [text[start:end] for start, end in spans]


def final_answers(completion: str, allow_last_number: bool = False) -> list[str]:
    """Candidates for the final answer: all boxed ones, or the one that was announced; [] if none."""
    text = after_thinking(completion)
    if text is None:
        return []
    boxes = boxed(text)
    if boxes:
        return boxes
    tagged = in_tags(text)
    if tagged:
        return [after_phrase(answer) or answer for answer in tagged]
    announced = after_phrase(text)
    if announced:
        return [announced]
    if allow_last_number:
        numbers = NUMBER.findall(text)
        return numbers[-1:]
    return []


def in_tags(text: str) -> list[str]:
    """What stands between `<answer>` and `</answer>`; the last may be cut off by a stop string."""
    found: list[str] = []
    start = -1
    for match in TAG.finditer(text):
        if match.group()[1] != "/":
            start = match.end()
        elif start >= 0:
            found.append(text[start : match.start()])
            start = -1
    if start >= 0 and text[start:].strip():
        found.append(text[start:])
    return found


def after_phrase(text: str) -> str:
    """What the last "final answer is" (or its like) announces, or ""."""
    end = -1
    for match in PHRASE.finditer(text):
        end = match.end()
    if end < 0:
        return ""
    tail = text[end : end + 4000]
    math = MATH.match(tail)
    if math:
        return next(group for group in math.groups() if group)
    stop = SENTENCE_END.search(tail)
    sentence = tail[: stop.start()] if stop else tail
    # "Final Answer: The largest n is 34."
    sentence = COPULA.split(sentence)[-1].strip().strip("*_` ").strip()
    return POLITE_END.sub("", sentence)
