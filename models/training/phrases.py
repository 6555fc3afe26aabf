"""How people ask, and words that several tasks need."""

from __future__ import annotations

from random import Random

READ = (
    "Read the text in this image.",
    "What does the text say?",
    "What text is in this image?",
    "Transcribe the text.",
    "OCR this image.",
    "What is written here?",
    "Read this.",
    "What does it say?",
    "Extract the text from this image.",
    "Read the text in the picture.",
    "What does this image say?",
    "Read the text.",
    "What is the text?",
    "Read the image.",
    "Read it out.",
    "Give me the text in the image.",
    "What is the text in this picture?",
    "Transcribe the image.",
    "Which text do you see?",
    "What does the sign say?",
    "Can you read this?",
    "What word is this?",
    "Perform OCR.",
    "Text recognition:",
    "Extract all text from this image.",
    "Return the text only.",
)
MARKDOWN = (
    "Convert this page to Markdown.",
    "OCR this image to Markdown.",
    "Convert the image to Markdown.",
    "Give me the text as Markdown.",
    "Extract the text as Markdown.",
    "Transcribe this page as Markdown.",
    "Convert this document to Markdown.",
    "Read the page. Answer in Markdown.",
)
DESCRIBE = (
    "Describe this image.",
    "describe this image",
    "What is in this image?",
    "What do you see?",
    "What does this image show?",
    "Describe the picture.",
    "What is shown here?",
    "Tell me about this image.",
    "What's in this image?",
    "Describe the image in one sentence.",
    "What is in the picture?",
    "Describe what you see.",
    "Describe it.",
    "Caption this image.",
    "Give a short description of this image.",
    "What can you see in this image?",
    "Explain this image.",
    "What is this?",
    "What does the picture show?",
    "Write a caption for this image.",
    "Write a short caption.",
)
AT_LENGTH = (
    "Describe this image in detail.",
    "Describe this image at length.",
    "Give a detailed description of this image.",
    "Describe the picture in detail.",
    "Describe everything you see.",
    "Write a long description of this image.",
)
WATCH = (
    "What happens in this video?",
    "Describe this video.",
    "What is happening in the video?",
    "What does the shape do?",
    "describe this video",
    "Tell me what happens in this video.",
    "What is going on in this clip?",
    "Describe the video.",
    "What does this video show?",
    "Summarize this video.",
    "What do you see in this video?",
    "Caption this video.",
    "What happens?",
    "Describe what happens.",
)
WATCH_MOTION = (
    "How does the shape move?",
    "Which way does the shape move?",
    "In which direction does the shape move?",
    "Describe the motion.",
)
SYSTEM = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a tiny vision model.",
    "Answer the question.",
)

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty")


def number_word(number: int) -> str:
    """0 to 69 in words; 0 is "no"."""
    if number < 20:
        return _NUMBERS[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_NUMBERS[ones]}" if ones else "")


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def colour_word(rng: Random) -> str:
    return rng.choice(("colour", "color", "color"))


def enumerated(items: list[str]) -> str:
    """ "a, b and c"; "nothing" for none."""
    if not items:
        return "nothing"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def varied(rng: Random, question: str) -> str:
    """Now and then without its capital, without its last sign, or with a please."""
    if rng.random() < 0.12 and not question.startswith("I "):
        question = question[0].lower() + question[1:]
    if rng.random() < 0.12 and question[-1] in ".?!":
        question = question[:-1]
    if rng.random() < 0.06 and question[0].isalpha():
        begin = "Please tell me: " if question.endswith("?") else "Please "
        question = begin + question[0].lower() + question[1:]
    return question
