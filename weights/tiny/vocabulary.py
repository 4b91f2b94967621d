"""The vocabulary of the tiny model: SentencePiece BPE, trained on the corpus with the sentencepiece library.

    python3 vocabulary.py CORPUS -o tokenizer.model     train, as the committed file was made (needs: pip install sentencepiece)
    python3 vocabulary.py CORPUS --check FILE           train again and compare with FILE: the pieces, and the ids of every text

As in Mistral's vocabularies ids 0 to 2 are <unk>, <s> and </s>, the 256 bytes follow, digits stand alone, and a space before a word is
part of it. [INST] and [/INST] are pieces of their own, so that the chat template v1 costs two tokens where it would cost twelve.
"""
import argparse
import io
import json
import sys

import sentencepiece

SIZE = 512


def texts(corpus):
    for kind in ("pretrain", "sft", "dpo"):
        with open("%s/%s.train.jsonl" % (corpus, kind), encoding="ascii") as file:
            for line in file:
                row = json.loads(line)
                if "messages" in row:
                    yield from (message["content"] for message in row["messages"])
                else:
                    yield from (value for key, value in row.items() if key != "task")


def train(corpus):
    """The bytes of a SentencePiece model. One thread: the order of merges must not depend on the machine."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts(corpus), model_writer=model, model_type="bpe", vocab_size=SIZE, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, character_coverage=1.0,
        allow_whitespace_only_pieces=True, user_defined_symbols=["[INST]", "[/INST]"], unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1,
        minloglevel=1)
    return model.getvalue()


def pieces(vocabulary):
    return [(vocabulary.id_to_piece(i), vocabulary.get_score(i)) for i in range(vocabulary.get_piece_size())]


def differences(corpus, committed):
    """What differs between the committed model and one trained now, in words; nothing if it is the same."""
    made = train(corpus)
    if made == committed:
        return
    old = sentencepiece.SentencePieceProcessor(model_proto=committed)
    new = sentencepiece.SentencePieceProcessor(model_proto=made)
    if pieces(old) != pieces(new):
        yield "the pieces differ: %d in the file, %d made now" % (old.get_piece_size(), new.get_piece_size())
    for number, text in enumerate(texts(corpus)):
        if old.encode(text) != new.encode(text):
            yield "text %d has other ids: %r" % (number, text)
            return


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("corpus", help="a folder that corpus.py made")
    options.add_argument("-o", "--output", help="file to write")
    options.add_argument("--check", metavar="FILE", help="file to compare with")
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
    print("vocabulary: %s" % ("not reproduced" if found else "reproduced"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
