"""Questions about a folder of text: `--environment srm_ray.environments.retrieval:Retrieval --data.path rows.jsonl`.

Rows have `prompt`, `answer` and `folder`. Tools find passages and read on; the last turn is graded as any answer is.
Passages are ranked by BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, eq. 3.15).
"""

import math
import re
from collections import Counter
from pathlib import Path

PASSAGE = 600  # characters, about
SHOWN = 3  # passages of a search
TYPES = (".txt", ".md", ".rst")
K1, B = 1.2, 0.75


class Retrieval:
    """Tools over the text files of a folder."""

    def reset(self, folder: str, **row: object) -> None:
        root = Path(folder)
        files = sorted(path for path in root.rglob("*") if path.suffix in TYPES and path.is_file())
        if not files:
            raise FileNotFoundError(f"{folder} holds no text ({', '.join(TYPES)})")
        self.passages: list[tuple[str, str]] = []  # (name, text): "notes/a.txt#3"
        for path in files:
            for number, text in enumerate(passages_of(path.read_text(encoding="utf-8", errors="replace"))):
                self.passages.append((f"{path.relative_to(root)}#{number}", text))
        self.counts = [Counter(words_of(text)) for _, text in self.passages]
        self.lengths = [sum(counts.values()) for counts in self.counts]
        self.holding = Counter(word for counts in self.counts for word in counts)

    def search(self, query: str) -> str:
        """Find the passages that fit some words best.

        Args:
            query: A few words, for example: capital of France.
        """
        scores = [(self._score(set(words_of(query)), n), -n) for n in range(len(self.passages))]
        best = [-n for score, n in sorted(scores, reverse=True)[:SHOWN] if score > 0]
        return "\n\n".join(f"[{name}] {text}" for name, text in (self.passages[n] for n in best)) or "Nothing found."

    def read(self, passage: str) -> str:
        """Read a passage and the one after it.

        Args:
            passage: Its name, as a search gives it, for example notes.txt#3.
        """
        names = [name for name, _ in self.passages]
        place = names.index(passage) if passage in names else -1
        if place < 0:
            return f"There is no passage {passage}."
        return "\n\n".join(f"[{name}] {text}" for name, text in self.passages[place : place + 2])

    def _score(self, words: set[str], n: int) -> float:
        mean = sum(self.lengths) / len(self.lengths) or 1.0
        total = 0.0
        for word in words & self.counts[n].keys():
            rare = math.log(1 + (len(self.passages) - self.holding[word] + 0.5) / (self.holding[word] + 0.5))
            count = self.counts[n][word]
            total += rare * count * (K1 + 1) / (count + K1 * (1 - B + B * self.lengths[n] / mean))
        return total


def passages_of(text: str) -> list[str]:
    """Paragraphs, joined while they are short, cut where they are long."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        for start in range(0, len(paragraph), PASSAGE):
            part = " ".join(paragraph[start : start + PASSAGE].split())
            if found and len(found[-1]) + len(part) < PASSAGE:
                found[-1] = f"{found[-1]} {part}".strip()
            elif part:
                found.append(part)
    return found


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
