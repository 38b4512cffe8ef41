"""Generate text: a character model learns from the manual of Python, and writes a line of its own.

The text ships with Python: what `help("topics")` shows, some 470,000 characters of English. An LSTM
reads it and predicts each next character. What that is worth: bits a character on the end of the
text, which it has not learned from, beside those of gzip, and of a code that knows nothing but how
often each character comes. To write, a character is drawn from the prediction and read as the next.

    python examples/generate_text.py

takes a minute on one core and prints something like

    by frequency  4.67 bits a character of the held-out end
    gzip          2.11 bits a character of the held-out end
    LSTM          1.76 bits a character of the held-out end

    The object is also dictionary in the wording of the class object is section of the function
    of the attributes, it sequence objects are bemon the class namespace (if its sequence of the
    string.

    Changed in version and the class pattern of a compiled in version of the same compare
"""

from pydoc_data import topics

import numpy as np

from rnncore.language_model import LanguageModel, Trainer
from rnncore.language_model.text import compressed_bits

HELD_OUT = 40_000
PROMPT = "The object "


def bits_by_frequency(learned, text):
    """Bits a character of `text`, for a code made for the frequencies in `learned`."""
    counts = np.bincount(learned, minlength=256) + 1
    return float(np.mean(-np.log2(counts[text] / counts.sum())))


def main(steps=3000, seed=0, length=300):
    text = np.frombuffer("".join(topics.topics.values()).encode(), np.uint8)
    learned, held_out = text[:-HELD_OUT], text[-HELD_OUT:]
    model = LanguageModel("lstm", hidden=160, rng=seed)
    trainer = Trainer(model, learned, batch=16, window=64, clip=1.0)
    for step in range(steps):
        bits = trainer.step(lr=4e-3 * (1 - step / steps)).bits
        if step % 500 == 0:
            print(f"step {step:5}  {bits:.2f} bits a character")

    bits = {
        "by frequency": bits_by_frequency(learned, held_out),
        "gzip": compressed_bits(held_out)["gzip"],
        "LSTM": model.bits_per_character(held_out),
    }
    for name, found in bits.items():
        print(f"{name:12}  {found:.2f} bits a character of the held-out end")

    print(f"\n{PROMPT}", end="")
    for character in model.sample(length, prompt=PROMPT.encode(), temperature=0.6, rng=seed):
        print(chr(character), end="", flush=True)
    print()
    return bits


if __name__ == "__main__":
    main()
