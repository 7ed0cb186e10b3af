"""Completions that announce their answer in words, in ten languages, in tags and in units: what is taken for it."""

from tests.rewards.in_process import InProcess

# (completion, gold): what it announces is the gold
ANNOUNCED: list[tuple[str, str]] = [
    ("<think>\nhm\n</think>\n<answer>42</answer>", "42"),
    ("<answer> 42 </answer>", "42"),
    ("<answer>The answer is 42.</answer>", "42"),
    (r"<answer>\boxed{42}</answer>", "42"),
    ("so <answer>42", "42"),
    ("答案：42", "42"),
    ("所以答案是42。", "42"),
    ("因此，最终答案为 42", "42"),
    ("答：42", "42"),
    (r"最终答案：$\frac{1}{2}$", "1/2"),
    ("La réponse est 42.", "42"),
    ("Réponse finale : 42", "42"),
    ("Die Antwort ist 42.", "42"),
    ("Antwort: 42", "42"),
    ("Die Antwort lautet 42", "42"),
    ("Das Endergebnis ist 42.", "42"),
    ("La respuesta es 42.", "42"),
    ("El resultado es 42.", "42"),
    ("Resultado final: 42", "42"),
    ("La solución es 42.", "42"),
    ("Le résultat est 42.", "42"),
    ("Le résultat final est donc 42.", "42"),
    ("La solution est 42.", "42"),
    ("O resultado é 42", "42"),
    ("Il risultato è 42", "42"),
    ("Результат: 42", "42"),
    ("Итого: 42.", "42"),
    ("因此结果是42。", "42"),
    ("Respuesta final: 42", "42"),
    ("La respuesta final es $42$", "42"),
    ("Ответ: 42", "42"),
    ("Ответ: 42.", "42"),
    ("Окончательный ответ — 42", "42"),
    ("Ответ равен 42", "42"),
    ("答えは42です。", "42"),
    ("정답은 42입니다.", "42"),
    ("A resposta é 42", "42"),
    ("La risposta è 42", "42"),
    ("The answer is 18 dollars a day", "18"),
    (r"So \\boxed{42}", "42"),
    (r"So \\boxed{\\frac{1}{2}}", "1/2"),
    ("The final answer is approximately 3.14.", "3.14"),
    ("**Final Answer:** 42", "42"),
    ("Final answer: The largest n is 34.", "34"),
    ("答案是 x=3", "3"),
    ("Der Wert ist 42. Antwort: **42**", "42"),
    ("L'aire est 12. La réponse est donc 12", "12"),
    ("La respuesta correcta es 42", "42"),
    ("Por lo tanto, la respuesta es: 42", "42"),
    ("Also lautet die Antwort 42.", "42"),
    ("Итак, ответ: $42$", "42"),
    ("Ответ: x = 42", "42"),
    ("答案为：42", "42"),
    ("答案等于42", "42"),
    ("故答案为：42", "42"),
    ("故选：B", "B"),
    ("The answer is: 42", "42"),
    ("#### 42", "42"),
]


def test_announcements(in_process: InProcess) -> None:
    missed = [(text, in_process.score(text, gold)) for text, gold in ANNOUNCED]
    assert [(text, reward) for text, reward in missed if reward.correct is not True] == []


def test_what_is_announced_otherwise_is_wrong(in_process: InProcess) -> None:
    wrong = [
        "<answer>42</answer><answer>41</answer>",
        "<answer>41</answer>",
        "<think><answer>42</answer></think>",
        "<answer>41 or 42</answer>",
        "<answer></answer>42",
        "答案：41",
        "La réponse est 41, pas 42.",
        "42. Le résultat est 41.",
        "El resultado es 41 o 42.",
        "结果是41",
        "Ответ: не 42",
        "Die Antwort ist 41 oder 42",
    ]
    assert [text for text in wrong if in_process.score(text, "42").correct is not False] == []
