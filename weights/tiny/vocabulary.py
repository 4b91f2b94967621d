"""The vocabulary of the tiny model: SentencePiece BPE, trained on the corpus by that library.

    python3 vocabulary.py CORPUS -o FILE        train (needs: pip install sentencepiece)
    python3 vocabulary.py CORPUS --check FILE   train again and compare with FILE: every byte, or
                                                else the pieces and the ids of every text

As in Mistral's vocabularies ids 0 to 2 are <unk>, <s> and </s>, the 256 bytes follow, digits stand
alone, and a space before a word is part of it. [INST] and [/INST] are pieces of their own, so that
the chat template v1 costs two tokens where it would cost twelve.
"""
import argparse
import io
import sys

import sentencepiece

import overlap

SIZE = 512


def texts(corpus):
    for kind in overlap.KINDS:
        for row in overlap.read(corpus, kind, "train"):
            yield from (said["content"] for said in row.get("messages", []))
            yield from (value for key, value in row.items() if key not in ("task", "messages"))


def train(corpus):
    """The bytes of a SentencePiece model. One thread: no machine merges in another order."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts(corpus), model_writer=model, model_type="bpe", vocab_size=SIZE,
        byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, character_coverage=1.0,
        allow_whitespace_only_pieces=True, user_defined_symbols=["[INST]", "[/INST]"],
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1, minloglevel=1)
    return model.getvalue()


def pieces(model):
    return [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]


def differences(corpus, committed):
    """In words, how a model trained now differs from the committed one; nothing if it is equal."""
    made = train(corpus)
    if made == committed:
        return
    old, new = (sentencepiece.SentencePieceProcessor(model_proto=m) for m in (committed, made))
    yield "the bytes differ"
    if pieces(old) != pieces(new):
        yield "the pieces differ"
    for text in texts(corpus):
        if old.encode(text) != new.encode(text):
            yield "other ids for %r" % text
            return


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("corpus", help="a folder that corpus.py made")
    options.add_argument("-o", "--output", metavar="FILE", help="write the vocabulary")
    options.add_argument("--check", metavar="FILE", help="compare with this vocabulary")
    given = options.parse_args()
    if (given.output is None) == (given.check is None):
        options.error("one of -o FILE and --check FILE is needed")
    if given.output is not None:
        with open(given.output, "wb") as file:
            file.write(train(given.corpus))
        return 0
    with open(given.check, "rb") as file:
        found = list(differences(given.corpus, file.read()))
    for line in found:
        print("vocabulary: " + line, file=sys.stderr)
    print("vocabulary: " + ("not reproduced" if found else "reproduced, byte for byte"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
